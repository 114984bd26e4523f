//! Public keys made for these tests, and signatures of `v1.hello` under them. The private keys are gone.

/// RSA, 2048 bits.
pub(super) const RSA: &str = "-----BEGIN PUBLIC KEY-----\n\
    MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAs2gf+elr6c9FJk3N/xRp\n\
    lir8DzIvPY7sLXa9vkrusn2lhjkZUwLvfDGtn0Xgonu5mXMijwEyw5zqEt/ViuQ1\n\
    YDHhS3o4509wTsOJaufSVTs4YwHMIgiogwXc6QNNHQwiYbyB2Le+FowSynHevQ0g\n\
    vaqlCpuXQsnvslrWfnOU0qhmVIx67VB2jfOI3oi8mqnKBUCT/5S8BD9pJEE1u956\n\
    VIYUBtQ05VCfWtJMD3zQNposh+r1Vq0VN3qnLTyEPZVm1uOZuvmLqYmJhme23RjD\n\
    EYlTCOYawl8OfGBDdy7YISx0f9zmHI30cnl9QCgh+UiZPXmTQAB9FJ5Jnwny7rcz\n\
    oQIDAQAB\n\
    -----END PUBLIC KEY-----\n";

/// P-256.
pub(super) const P256: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEyAkPPJU3T0EIcJMh17G3TOGQ/wSf\n\
    p4DygpyN+ZJPmAnrqn/rfRdTPfBoMutCsWrwTUTJaNhvaSqXmMP/snvD2A==\n\
    -----END PUBLIC KEY-----\n";

/// In base64.
pub(super) const RSA_SHA1: &str = "\
    KpDGn6IiGnmI3mUoIMr7yKYvisERZLtwalwZK6JnBSOK9xvmPqcABojjGQYpDvG/wOxFJLYhpzDfBB0PvmsWfPdDNzGT7xicQLNu\
    xFK78ckwPcp7xqZ4m7OllwV5beOD4RE/PAekbxBu8pUME4bQqvhzSF0QHodk4bNramnHETInEvLkLgcUhn7ZIY2FecfC0qdMvIXv\
    pNicdq9cmromKc2o+Ucam5nX9bzz0787RPR9s8jrjNav5iFXhxspN87VZg8PenGZfP9cKwbILgtSeuxZkJMJUonylY7kQM+znAxS\
    x2J0KzBaYf+LpQdLISE9PTpGfg9OrQ8WjCqme+/i3A==\
    ";

/// In base64.
pub(super) const RSA_SHA256: &str = "\
    sW0L1Te/m6wSo4tV89ynqfakVvFzONaGK00EPNxHGfCrisByCfXqYSAoAyS7oNYrqyOUydBsO/HOcHf0axmv5FxWPBsmqHJFm5MB\
    gouALGeLhNbV3/WCCGB9/M6KYeMX3Uo7ZVhr4yL0gujWmmnLs4HBrKMiOzIOACJqK0Ltvjb9hZQqWTuV3DrSh6jPplleB0q/gLAd\
    frZsDDox37QFCPG9lQoJsJdC3XdqH+41KwBxwUeFD1b7VqdlUl3I0Hvs694yBUBXE+aIKmIsjcJqmR7VOQBzLSCqJawOwjsQ8z9B\
    5K7SFiEnJod0AxsczBswnuPmeppnJ+b3I7XHDVF5kA==\
    ";

/// In base64.
pub(super) const RSA_SHA512: &str = "\
    nSW+ko3wLEVbP8ZJ1ffv8bB7/RRjbhBiQuq+4fQmyJdpWvZCLReaeqzhvnZaQ6ZnX5wm46VaH/5PkI9nCohb4w8V7HUEXqKSuxBz\
    ApiZsQZAP61pNqcwR67hBmw/v8/zvRgfsaPgoCoxTFacq6ZE6pAjifqnnIIh5+4A791sDcpPRmYAcdRa4pgfiGJDOE39jOVbfSgZ\
    e3lF7qZIjzz3/DBkPE7E0U0Mnp7UP6zD93x5FW+p4250AhfCytME9EknuSaKTdVEW8tWUsTn97iSnzOb8+39NMmsL074q7jhr2Jw\
    2Q8tMUAGdKYq3s5P5v6RxLMyBp5FQGCe3/QAPsK+ug==\
    ";

/// In base64.
pub(super) const ECDSA: &str = "\
    MEQCIGoV2MjW+cQZqrHHuOA/hAjbHyc5n7pprIEVpw4JdeTgAiA894ZezgC6xDtPSYi5UDTKiqsqwsWEq3p4rDyiL98gTg==\
    ";
