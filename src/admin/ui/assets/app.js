// The live list, keys, copying, dialogs, theme, local time. It makes no markup from text: it asks for a page, which the
// browser parses as an inert document, and takes nodes from there. src/admin/ui/mod.rs lists what it finds in the HTML.
'use strict';
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // --- What a browser remembers; some remember nothing ---

  const stored = (store) => ({
    get: (key) => { try { return window[store].getItem(key); } catch { return null; } },
    set: (key, value) => { try { window[store].setItem(key, value); } catch {} },
  });
  const settings = stored('localStorage');
  const visit = stored('sessionStorage');

  // --- Theme ---

  const THEMES = ['system', 'light', 'dark'];
  const theme = () => THEMES.find((one) => one === settings.get('theme')) ?? 'system';
  const setTheme = () => {
    document.documentElement.dataset.theme = theme();
    for (const button of all('#theme')) button.textContent = 'Theme: ' + theme();
  };
  setTheme();

  // --- Words ---

  // Says something in the polite status line. `isQuiet`: for screen readers only.
  let fading = null;
  const say = (text, isQuiet = false) => {
    const line = find('#announce');
    line.classList.toggle('visually-hidden', isQuiet);
    line.textContent = text;
    clearTimeout(fading);
    if (!isQuiet) fading = setTimeout(() => { line.textContent = ''; }, 6000);
  };

  // --- Time: UTC, as the server writes it, or local ---

  const isLocal = () => settings.get('zone') === 'local';
  const localText = (at, utc) => {
    const [day, clock] = at.toLocaleString('sv').split(' '); // Swedish is written as RFC 3339
    const fraction = /:\d\d(\.\d+)/.exec(utc)?.[1] ?? '';
    return (/\d-\d\d-\d/.test(utc) ? day + ' ' : '') + clock + fraction + (/UTC|Z$/.test(utc) ? ' local' : '');
  };
  const setZone = (root = document) => {
    for (const time of all('time[datetime]', root)) {
      const at = new Date(time.dateTime);
      time.dataset.utc ??= time.textContent;
      time.title = time.dateTime;
      const text = isLocal() && !isNaN(at) ? localText(at, time.dataset.utc) : time.dataset.utc;
      if (time.textContent !== text) time.textContent = text;
    }
    for (const zone of all('.zone', root)) zone.textContent = isLocal() ? 'local' : 'UTC';
    for (const button of all('#zone')) button.textContent = isLocal() ? 'Times: local' : 'Times: UTC';
  };

  // --- Pages, fetched and put in place ---

  // The document at an address of this gateway.
  const fetchPage = (address) => new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('GET', address);
    request.responseType = 'document';
    request.timeout = 15000;
    request.onload = () => (request.status === 200 && request.response ? resolve(request.response) : reject(request.status));
    request.onerror = request.ontimeout = () => reject(0);
    request.send();
  });

  // Makes `old` like `fresh`, and keeps every node that need not go: with them focus, selection and scrolling.
  const morph = (old, fresh) => {
    const isSame = old.nodeName === fresh.nodeName && old.dataset?.id === fresh.dataset?.id;
    if (!isSame) return old.replaceWith(document.importNode(fresh, true));
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    const isOwn = (name) => name === 'open' || (old.nodeName === 'TIME' && name !== 'datetime');
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !isOwn(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value && name !== 'hidden') old.setAttribute(name, value);
    }
    if (old.nodeName === 'TIME') delete old.dataset.utc;
    const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
    after.forEach((node, at) => (before[at] ? morph(before[at], node) : old.append(document.importNode(node, true))));
    before.slice(after.length).forEach((node) => node.remove());
  };

  const hasSelectionIn = (node) => {
    const selection = getSelection();
    return !selection.isCollapsed && selection.containsNode(node, true);
  };

  // A page that says that it changes by itself is fetched again.
  const poll = () => {
    const main = find('main[data-poll]');
    if (!main) return;
    setTimeout(async () => {
      if (!document.hidden && !find('dialog[open]') && !hasSelectionIn(main) && !isField(document.activeElement)) {
        try {
          morph(main, find('main', await fetchPage(location.href)));
          prepare(main);
        } catch (status) {
          if (status === 401) return location.reload();
        }
      }
      poll();
    }, 1000 * main.dataset.poll);
  };

  // --- The live list ---

  const MAX_ROWS = 200; // of the list, and of what waits to be shown in it
  const AT_ONCE = 50; // rows for one question
  const BETWEEN = 400; // milliseconds between two questions, at least
  const SILENCE = 40000; // milliseconds after which a stream is lost: the server says something every 15 s
  const FIRST = '00000000-0000-7000-8000-000000000000'; // an id before all others

  const startList = () => {
    const list = find('main[data-stream]');
    const body = find('#rows');
    if (!list || !body) return;
    const rows = () => all('tr[data-id]', body);
    const rowOf = (id) => find('tr[data-id="' + CSS.escape(id) + '"]', body);
    const news = new Set(); // ids that the list does not show yet
    const changed = new Set(); // ids of rows that are not as they were
    let newest = rows()[0]?.dataset.id ?? (find('a[rel=next]') ? '' : FIRST);
    let floor = ''; // between this id and the next shown one some are left out
    let [isPaused, isWanted, isAsking, nextTime, timer] = [false, false, false, 0, null];
    let [leftOut, leftOutNow] = [0, 0]; // since the page was opened, and since the list last grew
    let [stream, silence, retry, failures, lost] = [null, null, null, 0, null];
    let [newCount, refusedCount, speech, quietUntil] = [0, 0, null, 0];

    const show = () => {
      const words = lost ? 'reconnecting, stale since ' + lost.toISOString().slice(11, 19) + ' UTC' : isPaused ? 'paused' : 'live';
      const line = find('#live');
      line.dataset.state = lost ? 'lost' : isPaused ? 'paused' : 'live';
      line.textContent = words + (leftOut ? ' · ' + leftOut + ' left out of the list' : '');
      const count = news.size + leftOutNow;
      const button = find('#newer');
      button.hidden = count === 0;
      button.textContent = count + ' new – show ' + (count === 1 ? 'it' : 'them');
    };

    // At most every 10 s: a screen reader reads it out.
    const announce = () => {
      if (!newCount) return;
      speech ??= setTimeout(() => {
        const deliveries = newCount === 1 ? ' new delivery' : ' new deliveries';
        say(newCount + deliveries + (refusedCount ? ', ' + refusedCount + ' refused' : ''), true);
        [newCount, refusedCount, speech, quietUntil] = [0, 0, null, performance.now() + 10000];
      }, Math.max(0, quietUntil - performance.now()));
    };

    const leaveOut = (id, count) => {
      if (id > floor) floor = id;
      leftOut += count;
      leftOutNow += count;
    };
    const mayGrow = () => body.getBoundingClientRect().top >= 0 && !body.contains(document.activeElement);

    const insert = (row) => {
      const old = rowOf(row.dataset.id);
      if (old) return morph(old, row);
      const next = rows().find((other) => other.dataset.id < row.dataset.id);
      body.insertBefore(document.importNode(row, true), next ?? null);
    };

    // Puts rows in place that are new or have changed.
    const ask = async () => {
      timer = null;
      const isDisturbed = isPaused || hasSelectionIn(body) || find('dialog[open]');
      if (isAsking || document.hidden || (isDisturbed && !isWanted)) return;
      // What is left out has no ids here: the list is asked for as a whole.
      const isWhole = isWanted && !news.size && leftOutNow > 0;
      const fresh = isWanted || mayGrow() ? [...news].sort().reverse().slice(0, AT_ONCE) : [];
      for (const id of changed) if (!rowOf(id)) changed.delete(id);
      const stale = [...changed].slice(0, AT_ONCE - fresh.length);
      if (isWhole || fresh.length + stale.length) {
        isAsking = true;
        const began = performance.now();
        try {
          const ids = [...fresh, ...stale].map((id) => '&id=' + id).join('');
          const page = await fetchPage(isWhole ? location.href : list.dataset.rows + ids);
          if (isWhole || fresh.length) {
            for (const row of rows()) if (row.dataset.id <= floor) row.remove();
            [floor, leftOutNow] = ['', 0];
          }
          const given = all('tr[data-id]', page);
          given.forEach(insert);
          fresh.forEach((id) => news.delete(id));
          for (const id of stale) {
            changed.delete(id);
            // It does not match the search any more.
            if (!given.some((row) => row.dataset.id === id)) rowOf(id)?.remove();
          }
          if (rows().length) find('#empty')?.remove();
          rows().slice(MAX_ROWS).forEach((row) => row.remove());
          linkOlder();
          setZone(body);
        } catch {
          return; // the next event may go better
        } finally {
          isAsking = false;
          nextTime = performance.now() + Math.max(BETWEEN, 5 * (performance.now() - began));
        }
      }
      isWanted &&= news.size > 0;
      show();
      if (changed.size || (news.size && (isWanted || mayGrow()))) soon();
    };
    const soon = () => { timer ??= setTimeout(ask, Math.max(0, nextTime - performance.now())); };

    const recheck = () => {
      for (const row of rows()) changed.add(row.dataset.id);
      soon();
    };

    // The link to older ones goes on where the list ends.
    const linkOlder = () => {
      const last = rows().at(-1);
      let link = find('a[rel=next]');
      if (!last || (!link && rows().length < MAX_ROWS && !leftOut)) return;
      if (!link) {
        link = document.createElement('a');
        link.rel = 'next';
        link.textContent = 'Older';
        find('nav.pages')?.prepend(link);
      }
      const address = new URL(location.href);
      address.searchParams.set('before', last.dataset.id);
      link.href = address.href;
    };

    const take = (event, data) => {
      if (event === 'gap') {
        leaveOut(newest, data.count);
        recheck();
      }
      const oldest = find('a[rel=next]') ? rows().at(-1)?.dataset.id ?? '' : '';
      for (const { id, state } of data.deliveries ?? (data.id ? [data] : [])) {
        if (id > newest) newest = id;
        if (rowOf(id)) {
          changed.add(id);
        } else if (id > oldest && !news.has(id)) {
          news.add(id);
          newCount += 1;
          refusedCount += state === 'refused';
        }
      }
      for (const id of [...news].sort().slice(0, Math.max(0, news.size - MAX_ROWS))) {
        news.delete(id);
        leaveOut(id, 1);
      }
      show();
      announce();
      soon();
    };

    // EventSource cannot say where to go on, nor why it was refused.
    const open = async () => {
      close();
      if (document.hidden) return;
      const mine = (stream = new AbortController());
      const heard = () => {
        clearTimeout(silence);
        silence = setTimeout(() => mine.abort(), SILENCE);
      };
      try {
        heard();
        const headers = newest ? { 'Last-Event-ID': newest } : {};
        const response = await fetch(list.dataset.stream, { headers, signal: mine.signal, cache: 'no-store' });
        if (response.status === 401) return location.reload();
        if (!response.ok) throw response.status;
        [lost, failures] = [null, 0];
        recheck(); // what has changed before is not said again
        show();
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let text = ''; ;) {
          const { value, done } = await reader.read();
          if (done) break;
          heard();
          const blocks = (text + value).split('\n\n');
          text = blocks.pop();
          for (const block of blocks) {
            const { event, data } = Object.fromEntries(block.split('\n').map((line) => line.split(/: ?(.*)/s, 2)));
            if (data) take(event, JSON.parse(data));
          }
        }
      } catch { /* lost, as at its end */ }
      if (stream !== mine) return; // closed on purpose
      close();
      lost ??= new Date();
      show();
      retry = setTimeout(open, Math.min(500 * 2 ** failures, 8000));
      failures += 1;
    };
    const close = () => {
      clearTimeout(retry);
      clearTimeout(silence);
      const old = stream;
      stream = null;
      old?.abort();
    };

    find('#pause-live').addEventListener('click', ({ currentTarget: button }) => {
      isPaused = !isPaused;
      button.textContent = isPaused ? 'Resume' : 'Pause';
      show();
      soon();
    });
    find('#newer').addEventListener('click', () => {
      scrollTo(0, 0);
      isWanted = true;
      soon();
    });
    for (const event of ['scroll', 'focusout']) addEventListener(event, soon);
    document.addEventListener('selectionchange', soon);
    document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()));
    addEventListener('pagehide', close);
    addEventListener('pageshow', (event) => { if (event.persisted) open(); });
    addEventListener('online', open);
    show();
    open();
  };

  // --- Copying ---

  // To the clipboard, or, where a page may not write there, to a field.
  const copy = async (text, what) => {
    try {
      await navigator.clipboard.writeText(text);
      say('Copied: ' + what);
    } catch {
      const field = find('#copy-text textarea');
      field.value = text;
      find('#copy-text').showModal();
      field.select();
    }
  };
  const copyFrom = async (address, what) => {
    try {
      const response = await fetch(address, { cache: 'no-store' });
      const text = await response.text();
      if (response.ok) await copy(text.trimEnd(), what);
      else say(JSON.parse(text).detail);
    } catch {
      say('Not copied: the gateway did not answer');
    }
  };

  // --- Clicks and forms ---

  const onClick = (event) => {
    const target = event.target.closest('a, button, input');
    if (!target || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const { copy: address, copyText, key } = target.dataset;
    if (address || copyText) {
      event.preventDefault();
      if (address) copyFrom(address, target.textContent.trim());
      else copy(copyText, copyText);
    } else if (key === 'back') {
      event.preventDefault();
      back();
    } else if (target.id === 'theme') {
      settings.set('theme', THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
      setTheme();
    } else if (target.id === 'zone') {
      settings.set('zone', isLocal() ? 'utc' : 'local');
      setZone();
    } else if (target.id === 'keys-help') {
      find('#keys').showModal();
    } else if (target.id === 'keys-on') {
      settings.set('keys', target.checked ? 'on' : 'off');
    } else if (target.closest('tr[data-id]')) {
      leave(target.closest('tr'), target);
    }
  };

  const onSubmit = (event) => {
    const form = event.target;
    const dialog = form.dataset.dialog && find('#' + form.dataset.dialog);
    if (dialog) {
      event.preventDefault();
      dialog.showModal();
    } else if (form.method === 'post') {
      // One click too many sends nothing a second time.
      if (form.dataset.isSent) event.preventDefault();
      form.dataset.isSent = 'yes';
    }
  };

  // --- There and back ---

  const leave = (row, link) => {
    visit.set('list', location.href);
    visit.set('row', row.dataset.id);
    visit.set('to', link.pathname);
  };
  const back = () => {
    const link = find('[data-key=back]');
    if (!link) return;
    visit.set('isBack', 'yes');
    location.href = visit.get('to') === location.pathname ? visit.get('list') : link.href;
  };
  const comeBack = () => {
    const isBack = visit.get('isBack') || performance.getEntriesByType('navigation')[0]?.type === 'back_forward';
    const row = isBack && all('tr[data-id]').find((one) => one.dataset.id === visit.get('row'));
    if (row) find('a', row).focus();
    visit.set('isBack', '');
  };

  // --- Keys ---

  const isField = (element) => element?.matches?.('input:not([type=checkbox]), textarea, select, [contenteditable]') ?? false;
  const ELEMENTS = { '/': '#search', '.': '#newer', '?': '#keys-help', r: '[data-key=replay]', e: '[data-key=explain]',
    c: '[data-key=copy]', y: '[data-key=copy-id]', p: '[data-key=pause]' };
  let isGoing = false;

  const move = (by) => {
    const rows = all('main tbody tr').filter((row) => find('a', row));
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    const row = rows[at < 0 ? 0 : Math.min(Math.max(at + by, 0), rows.length - 1)];
    find('a', row)?.focus();
    row?.scrollIntoView({ block: 'nearest' });
  };
  // A key acts by the element for it, or by the row with the focus.
  const trigger = (key) => {
    const element = ELEMENTS[key] && all(ELEMENTS[key]).find((one) => one.checkVisibility());
    if (element && isField(element)) element.select();
    else if (element) element.click();
    if (element) return true;
    const row = document.activeElement.closest('tr[data-id]');
    const link = row && find('a[href^="/ui/deliveries/"]', row);
    if (!link) return false;
    const id = row.dataset.id;
    const open = (rest) => {
      leave(row, link);
      location.href = link.pathname + rest;
    };
    if (key === 'r') open('/replay');
    else if (key === 'e') open('?explain=true');
    else if (key === 'c') copyFrom('/api/v1/deliveries/' + id + '/curl', 'curl');
    else if (key === 'y') copy(id, id);
    else return false;
    return true;
  };

  const onKey = (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || find('dialog[open]')) return;
    if (isField(target)) {
      if (key === 'Escape') target.blur();
      return;
    }
    const inList = target.closest('tbody') !== null;
    let isDone = true;
    if (key === 'Escape') back();
    else if (inList && key === 'ArrowDown') move(1);
    else if (inList && key === 'ArrowUp') move(-1);
    else if (settings.get('keys') === 'off') return;
    else if (isGoing && 'drxs'.includes(key)) find('nav [data-key=' + key + ']')?.click();
    else if (key === 'j') move(1);
    else if (key === 'k') move(-1);
    else if (key === 'g') {
      isGoing = true;
      setTimeout(() => { isGoing = false; }, 1500);
    } else isDone = key.length === 1 && trigger(key);
    if (key !== 'g') isGoing = false;
    if (isDone) event.preventDefault();
  };

  // --- Start ---

  // What does nothing without a script is hidden without one.
  const SCRIPTED = '#zone, #theme, #keys-help, #live, #pause-live, [data-copy], [data-copy-text]';
  const prepare = (root = document) => {
    for (const element of all(SCRIPTED, root)) element.hidden = false;
    setZone(root);
  };

  document.addEventListener('DOMContentLoaded', () => {
    setTheme();
    prepare();
    find('#keys-on').checked = settings.get('keys') !== 'off';
    document.addEventListener('click', onClick);
    document.addEventListener('submit', onSubmit);
    document.addEventListener('keydown', onKey);
    addEventListener('pageshow', (event) => {
      // A page that the browser has kept.
      if (event.persisted) for (const form of all('form[data-is-sent]')) delete form.dataset.isSent;
      comeBack();
    });
    startList();
    poll();
  });
})();
