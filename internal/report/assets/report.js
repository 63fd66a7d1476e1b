'use strict';

// Draws what the report holds beyond its headline numbers. Everything that comes from the offer book is put into text
// nodes and canvases, never into markup. The attribute data-report of the document tells "ready" when all is drawn,
// data-errors tells what went wrong.
(() => {
  const root = document.documentElement;

  function reportError(message) {
    root.dataset.errors = [root.dataset.errors, message].filter(Boolean).join('\n');
  }

  window.addEventListener('error', (event) => reportError(event.message));
  document.addEventListener('securitypolicyviolation', (event) =>
    reportError(`blocked by ${event.violatedDirective}: ${event.blockedURI}`),
  );

  // ---- Data -------------------------------------------------------------------------------------------------------

  const data = JSON.parse(document.getElementById('data').textContent);
  const currencies = data.currencies;
  const count = currencies.id.length;
  const NOBODY = -1;

  // Numbers that JSON cannot hold are strings.
  currencies.price = currencies.price.map(Number);
  currencies.rate = currencies.rate.map(Number);

  const names = currencies.locator.map((locator) => locator.replace(/^https?:\/\/(?=.)/, ''));
  const haystack = currencies.locator.map((locator, i) => `${locator} ${currencies.id[i]}`.toLowerCase());
  const stateOf = (i) => data.states[currencies.state[i]];
  const unmet = (i) => Math.max(0, currencies.wanted[i] - currencies.cleared[i]);
  const unsold = (i) => Math.max(0, currencies.offered[i] - currencies.cleared[i]);
  const supplyShare = (i) => currencies.cleared[i] / currencies.offered[i];
  const demandShare = (i) => currencies.cleared[i] / currencies.wanted[i];

  const tradable = new Map(); // debtor ID to currency
  const claims = new Map(); // debtor ID to the number of currencies that claim it
  currencies.id.forEach((id, i) => {
    claims.set(id, (claims.get(id) || 0) + 1);
    if (stateOf(i).kind === 'good') tradable.set(id, i);
  });

  function nameOfDebtor(id) {
    return tradable.has(id) ? names[tradable.get(id)] : `debtor ${id}`;
  }

  function indices(test) {
    const found = [];
    for (let i = 0; i < count; i++) if (test(i)) found.push(i);
    return found;
  }

  // ---- Formats ----------------------------------------------------------------------------------------------------

  const NBSP = '\u00a0';
  const integers = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
  const decimals = new Intl.NumberFormat('en-US', { maximumFractionDigits: 2 });
  const significant = new Intl.NumberFormat('en-US', { maximumSignificantDigits: 3 });
  const precise = new Intl.NumberFormat('en-US', { maximumSignificantDigits: 6 });

  function formatScientific(value, digits) {
    const [mantissa, exponent] = value.toExponential(digits).split('e');
    const raised = exponent.replace('+', '').replace(/./g, (c) => '⁰¹²³⁴⁵⁶⁷⁸⁹⁻'['0123456789-'.indexOf(c)]);
    return `${mantissa.replace(/\.?0+$/, '')}×10${raised}`;
  }

  function formatValue(value) {
    const size = Math.abs(value);
    if (!Number.isFinite(value)) return '–';
    if (size < 999.995) return decimals.format(value);
    if (size < 999999.5) return integers.format(value);
    if (size < 999.5e6) return `${significant.format(value / 1e6)}${NBSP}M`;
    if (size < 999.5e9) return `${significant.format(value / 1e9)}${NBSP}B`;
    if (size < 999.5e12) return `${significant.format(value / 1e12)}${NBSP}T`;
    return formatScientific(value, 2);
  }

  function formatPrice(price) {
    const size = Math.abs(price);
    if (Number.isNaN(price)) return '–';
    if (size === Infinity) return price > 0 ? '∞' : '−∞';
    if (size !== 0 && (size < 1e-5 || size >= 1e9)) return formatScientific(price, 4);
    return precise.format(price);
  }

  function formatShare(share) {
    if (!Number.isFinite(share)) return '–';
    if (share <= 0) return `0${NBSP}%`;
    if (share < 0.0005) return `<${NBSP}0.1${NBSP}%`;
    if (share >= 1) return `100${NBSP}%`;
    if (share > 0.9995) return `>${NBSP}99.9${NBSP}%`;
    return `${(share * 100).toFixed(1)}${NBSP}%`;
  }

  // formatAmount takes the digits of a 64-bit number.
  function formatAmount(digits) {
    return BigInt(digits).toLocaleString('en-US');
  }

  function plural(n, one, many) {
    return `${integers.format(n)} ${n === 1 ? one : many}`;
  }

  function shorten(text, longest) {
    const letters = Array.from(text);
    if (letters.length <= longest) return text;
    const tail = Math.floor(longest * 0.4);
    return `${letters.slice(0, longest - tail - 1).join('')}…${letters.slice(-tail).join('')}`;
  }

  // ---- Elements ---------------------------------------------------------------------------------------------------

  // fill sets attributes, of which functions become listeners, and appends children, of which strings become text.
  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (typeof value === 'function') element.addEventListener(name, value);
      else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
    }
    element.append(...children.filter((child) => child !== undefined && child !== null));
    return element;
  }

  function html(tag, attributes, ...children) {
    return fill(document.createElement(tag), attributes, children);
  }

  function svg(tag, attributes, ...children) {
    return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
  }

  // bar is a coloured box as wide as a share of its container.
  function bar(kind, share) {
    const element = html('div', { class: `bar ${kind}` });
    element.style.width = `${100 * Math.min(1, Math.max(0, share || 0))}%`;
    if (share > 0) element.style.minWidth = '1px';
    return element;
  }

  function key(kind, text) {
    return html('li', null, html('i', { class: `key ${kind}` }), text);
  }

  function segments(legend, options, onChange) {
    const group = `segments-${legend.toLowerCase().replace(/\W+/g, '-')}`;
    const labels = options.map(([value, text], i) =>
      html(
        'label',
        null,
        html('input', { type: 'radio', name: group, value, checked: i === 0, change: () => onChange(value) }),
        html('span', null, text),
      ),
    );
    return html('fieldset', { class: 'segments' }, html('legend', { class: 'visually-hidden' }, legend), ...labels);
  }

  function searchField(label, onInput) {
    return html('input', {
      type: 'search',
      placeholder: 'Search locator or debtor ID',
      'aria-label': label,
      spellcheck: 'false',
      autocomplete: 'off',
      input: (event) => onInput(event.target.value.trim().toLowerCase()),
    });
  }

  const tooltip = (() => {
    const box = html('div', { class: 'tooltip', role: 'tooltip', hidden: true });
    document.body.append(box);
    function show(event, title, ...lines) {
      box.replaceChildren(html('b', null, title), ...lines.map((line) => html('div', null, line)));
      box.hidden = false;
      const { width, height } = box.getBoundingClientRect();
      const below = event.clientY + 16 + height < window.innerHeight;
      box.style.left = `${Math.max(8, Math.min(event.clientX + 12, window.innerWidth - width - 8))}px`;
      box.style.top = `${below ? event.clientY + 16 : event.clientY - height - 12}px`;
    }
    return {
      show,
      hide() {
        box.hidden = true;
      },
    };
  })();

  function palette(...keys) {
    const style = getComputedStyle(root);
    return keys.map((name) => style.getPropertyValue(`--${name}`).trim());
  }

  // onWidth has a function called when the page is complete, and whenever the width of an element changes later.
  const whenComplete = [];
  function onWidth(element, callback) {
    let known = 0;
    const check = () => {
      if (element.clientWidth === known) return;
      known = element.clientWidth;
      callback();
    };
    whenComplete.push(() => {
      check();
      new ResizeObserver(() => requestAnimationFrame(check)).observe(element);
    });
  }

  // canvasOf returns a canvas that redraws itself when its size or the colour scheme changes. Function draw gets the
  // context, scaled to CSS pixels, and the width; function heightOf tells the height for a width.
  function canvasOf(label, heightOf, draw) {
    const canvas = html('canvas', { role: 'img', 'aria-label': label });
    function redraw() {
      const width = canvas.parentElement ? Math.floor(canvas.clientWidth) : 0;
      if (width === 0) return;
      const scale = window.devicePixelRatio || 1;
      const height = heightOf(width);
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.style.height = `${height}px`;
      const context = canvas.getContext('2d');
      context.scale(scale, scale);
      context.font = `12px ${palette('font')[0]}`;
      draw(context, width, height);
    }
    onWidth(canvas, redraw);
    window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
    return { canvas, redraw };
  }

  // fitText cuts a text to a width on a canvas; it returns an empty text if hardly anything would be left.
  function fitText(context, text, width) {
    if (context.measureText(text).width <= width) return text;
    for (let n = Math.floor(width / 5); n > 5; n--) {
      const short = shorten(text, n);
      if (context.measureText(short).width <= width) return short;
    }
    return '';
  }

  // ---- The forest of pegs -----------------------------------------------------------------------------------------

  // Node numbers are those of the currencies; one more node, STRAYS, holds the trees that do not hang on the base.
  const STRAYS = count;

  const forest = (() => {
    const parent = currencies.parent.map((p, i) => (p === NOBODY && i !== data.base ? STRAYS : p)).concat(NOBODY);
    const children = Array.from({ length: count + 1 }, () => []);
    for (let i = 0; i < count; i++) if (parent[i] !== NOBODY) children[parent[i]].push(i);
    const roots = [data.base, STRAYS].filter((r) => r !== NOBODY && (r !== STRAYS || children[STRAYS].length > 0));

    const order = [...roots]; // parents before children
    for (let k = 0; k < order.length; k++) for (const child of children[order[k]]) order.push(child);
    const volume = currencies.cleared.concat(0); // of the node and all below
    const size = new Array(count + 1).fill(1);
    for (let k = order.length - 1; k >= 0; k--) {
      const up = parent[order[k]];
      if (up === NOBODY) continue;
      volume[up] += volume[order[k]];
      size[up] += size[order[k]];
    }
    for (const siblings of children) siblings.sort((a, b) => volume[b] - volume[a] || size[b] - size[a] || a - b);
    return { parent, children, roots, volume, size };
  })();

  const maxCleared = currencies.cleared.reduce((most, value) => Math.max(most, value), 0);
  const nodeName = (node) => (node === STRAYS ? 'Not connected to the base currency' : names[node]);

  function pathTo(node) {
    const path = [];
    for (let at = node; at !== NOBODY; at = forest.parent[at]) path.push(at);
    return path.reverse();
  }

  // heatOf tells from 0 to 1 how much of a currency was cleared, on a logarithmic scale of four decades.
  function heatOf(node) {
    const cleared = currencies.cleared[node];
    return cleared > 0 ? Math.max(0.06, 1 + Math.log10(cleared / maxCleared) / 4) : 0;
  }

  // ---- Map of the peg-tree: an icicle that can be zoomed ----------------------------------------------------------

  function createMap(onSelect) {
    const DEEPEST = 6;
    const ROW = 44;
    let levels = 1;
    let focus = forest.roots[0];
    let boxes = [];
    const crumbs = html('ol', { class: 'crumbs', 'aria-label': 'Path to the shown part of the map' });
    const label =
      'Map of the peg-tree: the base currency on top, below each currency those that are pegged to it, as wide as ' +
      'the value cleared in them and everything below. The outline below has the same content.';
    const { canvas, redraw } = canvasOf(label, () => levels * ROW, draw);

    // Of the width, 85 % tell the volume; the rest is shared equally, so that what was not traded shows too.
    const total = forest.roots.reduce((sum, r) => sum + forest.volume[r], 0);
    const members = forest.roots.reduce((sum, r) => sum + forest.size[r], 0);
    function weight(node) {
      const even = forest.size[node] / members;
      return total > 0 ? 0.85 * (forest.volume[node] / total) + 0.15 * even : even;
    }

    // measure counts the levels below the focus, as far as they are shown.
    function measure() {
      levels = 1;
      for (let level = [focus]; levels < DEEPEST; levels++) {
        level = level.flatMap((node) => forest.children[node]);
        if (level.length === 0) break;
      }
    }

    function layOut(width) {
      boxes = [{ node: focus, level: 0, x: 0, width }];
      for (let k = 0; k < boxes.length; k++) {
        const box = boxes[k];
        if (box.level === DEEPEST - 1) continue;
        let x = box.x;
        for (const child of forest.children[box.node]) {
          const part = box.width * (weight(child) / weight(box.node));
          if (part >= 0.7) boxes.push({ node: child, level: box.level + 1, x, width: part });
          x += part;
        }
      }
    }

    function draw(context, width) {
      layOut(width);
      const colours = palette('heat-low', 'heat-high', 'idle', 'surface', 'ink');
      for (const box of boxes) drawBox(context, box, box.level * ROW, ROW - 1, colours);
      markHidden(context, palette('line-strong')[0]);
    }

    // markHidden draws a line under the boxes of the last level that have more below.
    function markHidden(context, colour) {
      context.fillStyle = colour;
      for (const box of boxes) {
        if (box.level === DEEPEST - 1 && forest.children[box.node].length > 0) {
          context.fillRect(box.x, DEEPEST * ROW - 4, Math.max(0.7, box.width - 1), 3);
        }
      }
    }

    function boxAt(event) {
      const { left, top } = canvas.getBoundingClientRect();
      const x = event.clientX - left;
      const level = Math.floor((event.clientY - top) / ROW);
      return boxes.find((box) => box.level === level && x >= box.x && x < box.x + box.width);
    }

    function zoomTo(node) {
      focus = node;
      measure();
      drawCrumbs();
      redraw();
    }

    function drawCrumbs() {
      const path = pathTo(focus);
      const shown = path.length > 6 ? [path[0], null, ...path.slice(-4)] : path;
      const items = shown.map((node) => {
        if (node === null) return html('li', null, `… ${integers.format(path.length - 5)} more …`);
        const text = shorten(nodeName(node), 32);
        if (node === focus) return html('li', null, html('span', { class: 'name', 'aria-current': 'true' }, text));
        return html('li', null, html('button', { type: 'button', class: 'name', click: () => zoomTo(node) }, text));
      });
      const others = forest.roots
        .filter((r) => r !== path[0])
        .map((r) =>
          html(
            'li',
            { class: 'elsewhere' },
            html('button', { type: 'button', click: () => zoomTo(r) }, shorten(nodeName(r), 40)),
          ),
        );
      crumbs.replaceChildren(...items, ...(path.length === 1 ? others : []));
    }

    canvas.addEventListener('click', (event) => {
      const box = boxAt(event);
      if (!box) return;
      zoomTo(box.level === 0 && forest.parent[focus] !== NOBODY ? forest.parent[focus] : box.node);
      if (box.node !== STRAYS) onSelect(box.node);
    });
    canvas.addEventListener('mousemove', (event) => {
      const box = boxAt(event);
      if (!box) return tooltip.hide();
      return tooltip.show(event, nodeName(box.node), ...factsInShort(box.node));
    });
    canvas.addEventListener('mouseleave', tooltip.hide);
    measure();
    drawCrumbs();
    return { canvas, crumbs, zoomTo };
  }

  // drawBox draws a node of the map, with its name and price if there is room for them.
  function drawBox(context, { node, x, width }, y, height, [low, high, idle, surface, ink]) {
    const sound = node !== STRAYS && stateOf(node).kind === 'good';
    const colour = sound ? mix(low, high, heatOf(node)) : idle;
    context.fillStyle = colour;
    context.fillRect(x, y, Math.max(0.7, width - (width > 4 ? 1 : 0)), height);
    if (width < 44) return;
    context.fillStyle = contrast(colour, ink, surface);
    context.fillText(fitText(context, nodeName(node), width - 14), x + 7, y + 18);
    const note = boxNote(node);
    context.globalAlpha = 0.85;
    if (context.measureText(note).width < width - 14) context.fillText(note, x + 7, y + 34);
    context.globalAlpha = 1;
  }

  function boxNote(node) {
    if (node === STRAYS) return plural(forest.size[STRAYS] - 1, 'currency', 'currencies');
    if (node === data.base) return 'base currency';
    if (stateOf(node).kind !== 'good') return stateOf(node).label;
    return formatPrice(currencies.price[node]);
  }

  function factsInShort(node) {
    const below = forest.size[node] - 1;
    const lines =
      below > 0 ? [`with the ${integers.format(below)} below: ${formatValue(forest.volume[node])} cleared`] : [];
    if (node === STRAYS) return lines;
    const price = currencies.distance[node] < 0 ? 'no price' : `price ${formatPrice(currencies.price[node])}`;
    return [`${stateOf(node).label}, ${price}`, `cleared ${formatValue(currencies.cleared[node])}`, ...lines];
  }

  function channels(colour) {
    return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  }

  function mix(from, to, share) {
    const [a, b] = [channels(from), channels(to)];
    return `#${a
      .map((v, k) =>
        Math.round(v + (b[k] - v) * share)
          .toString(16)
          .padStart(2, '0'),
      )
      .join('')}`;
  }

  function luminance(colour) {
    const [r, g, b] = channels(colour).map((v) => (v / 255) ** 2.2);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  // contrast returns the one of two colours that is easier to read on a background.
  function contrast(background, one, other) {
    const ratio = (colour) => {
      const [low, high] = [luminance(background), luminance(colour)].sort((a, b) => a - b);
      return (high + 0.05) / (low + 0.05);
    };
    return ratio(one) >= ratio(other) ? one : other;
  }

  // ---- Outline of the peg-tree ------------------------------------------------------------------------------------

  // createOutline shows the forest as rows that can be opened and closed. Only the rows in view are in the document.
  function createOutline(onSelect) {
    const ROW = 36;
    const open = new Set();
    let filter = { text: '', kind: '' };
    let matches = null; // nodes that the filter lets pass
    let shown = null; // these and the nodes above them
    let rows = []; // {node, level}
    let active = 0;
    let selected = NOBODY;

    const space = html('div', { class: 'outline-space', role: 'presentation' });
    const body = html(
      'div',
      {
        class: 'outline-body',
        role: 'treegrid',
        tabindex: '0',
        'aria-label': 'Currencies, as a tree of pegs',
        'aria-colcount': '4',
        scroll: drawRows,
        keydown: onKey,
      },
      space,
    );
    const status = html('span', { class: 'status', role: 'status' });

    function childrenOf(node) {
      return shown ? forest.children[node].filter((child) => shown.has(child)) : forest.children[node];
    }

    function listRows() {
      rows = [];
      const stack = forest.roots
        .filter((r) => !shown || shown.has(r))
        .reverse()
        .map((node) => ({ node, level: 0 }));
      while (stack.length > 0) {
        const row = stack.pop();
        rows.push(row);
        if (!open.has(row.node)) continue;
        const below = childrenOf(row.node);
        for (let k = below.length - 1; k >= 0; k--) stack.push({ node: below[k], level: row.level + 1 });
      }
      active = Math.max(0, Math.min(active, rows.length - 1));
      space.style.height = `${Math.max(2, rows.length) * ROW}px`;
      body.setAttribute('aria-rowcount', rows.length);
    }

    function drawRows() {
      const first = Math.max(0, Math.floor(body.scrollTop / ROW) - 6);
      const last = Math.min(rows.length, first + Math.ceil(body.clientHeight / ROW) + 12);
      const drawn = [];
      for (let k = first; k < last; k++) drawn.push(drawRow(rows[k], k));
      if (rows.length === 0)
        drawn.push(html('p', { class: 'empty' }, count ? 'No currency matches.' : 'No currencies are registered.'));
      space.replaceChildren(...drawn);
      body.setAttribute('aria-activedescendant', rows.length ? `row-${rows[active].node}` : '');
    }

    function drawRow({ node, level }, k) {
      const branches = childrenOf(node).length > 0;
      const row = html(
        'div',
        {
          class: `outline-row${k === active ? ' active' : ''}${matches && !matches.has(node) ? ' context' : ''}`,
          role: 'row',
          id: `row-${node}`,
          'aria-level': level + 1,
          'aria-rowindex': k + 1,
          'aria-selected': node === selected ? 'true' : 'false',
          'aria-expanded': branches ? String(open.has(node)) : undefined,
          click: (event) => onClick(event, k),
        },
        drawTwig({ node, level, branches, isOpen: open.has(node) }, body.clientWidth),
        ...drawCells(node),
      );
      row.style.top = `${k * ROW}px`;
      return row;
    }

    function onClick(event, k) {
      active = k;
      const { node } = rows[k];
      if (event.target.closest('.twist') || node === STRAYS) toggle(node);
      else select(node);
    }

    function select(node) {
      if (node === STRAYS) return toggle(node);
      selected = node;
      drawRows();
      return onSelect(node);
    }

    function toggle(node, want = !open.has(node)) {
      if (want) open.add(node);
      else open.delete(node);
      // A chain of single children opens as a whole, up to a screenful.
      for (let next = childrenOf(node), n = 0; want && next.length === 1 && n < 12; n++) {
        open.add(next[0]);
        next = childrenOf(next[0]);
      }
      listRows();
      drawRows();
    }

    function moveTo(k) {
      active = Math.max(0, Math.min(k, rows.length - 1));
      const top = active * ROW;
      if (top < body.scrollTop) body.scrollTop = top;
      else if (top + ROW > body.scrollTop + body.clientHeight) body.scrollTop = top + ROW - body.clientHeight;
      drawRows();
    }

    function moveOut(node) {
      const up = rows.findIndex((row) => row.node === forest.parent[node]);
      if (up >= 0) moveTo(up);
    }

    function onKey(event) {
      if (rows.length === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
      const { node } = rows[active];
      const isOpen = open.has(node) && childrenOf(node).length > 0;
      const pageful = Math.floor(body.clientHeight / ROW) - 1;
      const actions = {
        ArrowDown: () => moveTo(active + 1),
        ArrowUp: () => moveTo(active - 1),
        PageDown: () => moveTo(active + pageful),
        PageUp: () => moveTo(active - pageful),
        Home: () => moveTo(0),
        End: () => moveTo(rows.length - 1),
        ArrowRight: () => (isOpen ? moveTo(active + 1) : toggle(node, true)),
        ArrowLeft: () => (isOpen ? toggle(node, false) : moveOut(node)),
        Enter: () => select(node),
        ' ': () => select(node),
      };
      if (!actions[event.key]) return;
      event.preventDefault();
      actions[event.key]();
    }

    function applyFilter(change) {
      filter = { ...filter, ...change };
      const filtering = filter.text !== '' || filter.kind !== '';
      matches = filtering
        ? new Set(
            indices(
              (i) => haystack[i].includes(filter.text) && (filter.kind === '' || stateOf(i).label === filter.kind),
            ),
          )
        : null;
      shown = null;
      if (filtering) {
        shown = new Set();
        for (const match of matches) {
          for (let at = match; at !== NOBODY && !shown.has(at); at = forest.parent[at]) shown.add(at);
        }
        for (const node of shown) if (!matches.has(node)) open.add(node);
      }
      active = 0;
      body.scrollTop = 0;
      tell();
      listRows();
      drawRows();
    }

    function tell() {
      status.textContent = matches
        ? `${integers.format(matches.size)} of ${plural(count, 'currency', 'currencies')}`
        : plural(count, 'currency', 'currencies');
    }

    function openAll(want) {
      open.clear();
      for (const r of forest.roots) open.add(r);
      if (want) for (let node = 0; node <= count; node++) if (forest.children[node].length) open.add(node);
      active = 0;
      body.scrollTop = 0;
      listRows();
      drawRows();
    }

    // reveal opens the way to a currency, selects it, and scrolls to it.
    function reveal(node) {
      if (shown && !shown.has(node)) applyFilter({ text: '', kind: '' });
      for (let at = forest.parent[node]; at !== NOBODY; at = forest.parent[at]) open.add(at);
      selected = node;
      listRows();
      active = rows.findIndex((row) => row.node === node);
      body.scrollTop = Math.max(0, active * ROW - body.clientHeight / 3);
      drawRows();
    }

    openAll(count <= 40);
    tell();
    onWidth(body, drawRows);
    return { body, status, applyFilter, openAll, reveal };
  }

  // drawTwig draws the first cell of a row, for an outline of the given width: its name, indented by its level.
  function drawTwig({ node, level, branches, isOpen }, width) {
    const narrow = width < 560;
    const [step, deepest] = narrow ? [8, 7] : [16, 9];
    const indent = Math.min(level, deepest) * step;
    const room = width - indent - (narrow ? 225 : 540) - (level > deepest ? 35 : 0);
    const letters = Math.max(8, Math.floor(room / 7.5));
    const arrow = svg('svg', { viewBox: '0 0 10 10' }, svg('path', { d: 'M3 1l4 4-4 4' }));
    const twig = html(
      'div',
      { class: 'twig', role: 'gridcell' },
      html('span', { class: 'twist' }, branches ? arrow : null),
      node === STRAYS ? null : dotOf(node),
      level > deepest ? html('span', { class: 'deep', title: 'number of pegs above' }, String(level)) : null,
      html('span', { class: 'name', title: nodeName(node) }, shorten(nodeName(node), letters)),
      html('span', { class: 'note' }, twigNote(node, isOpen)),
    );
    twig.style.paddingLeft = `${indent}px`;
    return twig;
  }

  function twigNote(node, isOpen) {
    const below = forest.size[node] - 1;
    const pegged = node !== STRAYS && node !== data.base && !Number.isNaN(currencies.rate[node]);
    const parts = [
      node === data.base ? 'base' : '',
      pegged ? `× ${formatPrice(currencies.rate[node])}` : '',
      below > 0 && !isOpen ? `+${integers.format(below)}` : '',
    ];
    return parts.filter(Boolean).join(' · ');
  }

  function drawCells(node) {
    if (node === STRAYS) return [];
    const { kind, label } = stateOf(node);
    const cleared = currencies.cleared[node];
    return [
      html('div', { class: 'number', role: 'gridcell' }, formatPrice(currencies.price[node])),
      html('div', { class: `state ${kind}`, role: 'gridcell' }, label),
      html(
        'div',
        { class: 'gauge', role: 'gridcell' },
        cleared > 0 ? html('div', { class: 'track' }, bar('cleared', cleared / maxCleared)) : html('div'),
        html('span', { class: 'number' }, cleared > 0 ? formatValue(cleared) : '–'),
      ),
    ];
  }

  function dotOf(node) {
    const share = maxCleared > 0 ? currencies.cleared[node] / maxCleared : 0;
    const radius = 3 + 6 * Math.sqrt(share);
    return svg(
      'svg',
      { class: 'dot', viewBox: '0 0 20 20', 'aria-hidden': 'true' },
      svg('circle', { class: stateOf(node).kind, cx: 10, cy: 10, r: radius.toFixed(1) }),
    );
  }

  // ---- One currency -----------------------------------------------------------------------------------------------

  function fact(term, value, kind) {
    return html('div', null, html('dt', null, term), html('dd', { class: kind }, value));
  }

  function drawFacts(panel, node, onZoom) {
    const { kind, label, why } = stateOf(node);
    const claimed = claims.get(currencies.id[node]);
    const also = !currencies.confirmed[node] && label !== 'not confirmed' ? ' It is not confirmed either.' : '';
    const limit =
      label === 'too far'
        ? ` The limit is ${integers.format(data.maxDistance)}, its distance ${pathTo(node).length - 1}.`
        : '';
    const dangling = currencies.dangling[node];
    panel.replaceChildren(
      html('h3', { class: 'name' }, currencies.locator[node]),
      html('span', { class: `badge ${kind}` }, node === data.base ? `base currency, ${label}` : label),
      html(
        'p',
        { class: 'why' },
        (node === data.base && kind === 'good' ? 'All prices and values are in tokens of it.' : why) + limit + also,
      ),
      html(
        'dl',
        null,
        fact('Debtor ID', currencies.id[node]),
        claimed > 1 ? fact('Claimed by', `${integers.format(claimed)} currencies`) : null,
        fact('Price', formatPrice(currencies.price[node])),
        fact('Distance to the base', currencies.distance[node] < 0 ? '–' : integers.format(currencies.distance[node])),
        dangling ? fact('Pegged to', `${dangling.locator}, debtor ID ${dangling.id}`, 'name') : null,
        ...(kind === 'good' ? marketFacts(node) : []),
        forest.size[node] > 1 ? fact('Cleared with all below', formatValue(forest.volume[node])) : null,
      ),
      ...drawChain(node),
      html('p', null, html('button', { type: 'button', class: 'plain', click: () => onZoom(node) }, 'Show on the map')),
    );
  }

  function marketFacts(node) {
    return [
      fact(
        'Offered',
        `${formatValue(currencies.offered[node])} in ${plural(currencies.sells[node], 'offer', 'offers')}`,
      ),
      fact('Wanted', `${formatValue(currencies.wanted[node])} in ${plural(currencies.buys[node], 'offer', 'offers')}`),
      fact('Cleared', formatValue(currencies.cleared[node])),
      fact('Supply sold', formatShare(supplyShare(node))),
      fact('Demand met', formatShare(demandShare(node))),
    ];
  }

  // drawChain tells how a price comes about, from the currency up to the base.
  function drawChain(node) {
    const path = pathTo(node)
      .filter((at) => at !== STRAYS)
      .reverse();
    if (path.length < 2) return [];
    const steps = path
      .slice(0, -1)
      .map((at, k) =>
        html(
          'li',
          null,
          '1 ',
          html('b', { class: 'name' }, shorten(names[at], 40)),
          ` = ${formatPrice(currencies.rate[at])} `,
          html('span', { class: 'name' }, shorten(names[path[k + 1]], 40)),
        ),
      );
    const [head, tail] = steps.length > 40 ? [steps.slice(0, 20), steps.slice(-10)] : [steps, []];
    const gap = steps.length - head.length - tail.length;
    return [
      html('h4', null, path.at(-1) === data.base ? 'Pegs up to the base currency' : 'Pegs'),
      html('ol', { class: 'chain' }, ...head, gap > 0 ? html('li', null, `… ${gap} more pegs …`) : null, ...tail),
    ];
  }

  function drawTree() {
    const place = document.getElementById('tree');
    if (count === 0) {
      place.append(html('p', { class: 'empty' }, 'No currencies are registered.'));
      return () => {};
    }
    const panel = html('div', { class: 'panel facts', 'aria-live': 'polite' });
    const facts = (node) =>
      drawFacts(panel, node, (target) => {
        map.zoomTo(target);
        map.canvas.scrollIntoView({ block: 'center' });
      });
    const outline = createOutline(facts);
    const select = (node) => {
      outline.reveal(node);
      facts(node);
    };
    const map = createMap(select);
    place.append(
      html('div', { class: 'panel map' }, map.crumbs, map.canvas, mapLegend()),
      outlineControls(outline),
      html('div', { class: 'tree' }, html('div', { class: 'panel outline' }, outlineHead(), outline.body), panel),
    );
    place.querySelector('.outline').style.padding = '0';
    select(data.base === NOBODY ? forest.children[STRAYS][0] : data.base);
    return select;
  }

  function mapLegend() {
    return html(
      'div',
      { class: 'map-foot' },
      html('span', null, 'Width: value cleared in a currency and all below it'),
      html(
        'span',
        null,
        'Colour: value cleared in the currency itself, from little',
        html('i', { class: 'heat' }),
        'to much',
      ),
      html('span', null, 'Click to zoom in, on the top row to zoom out'),
    );
  }

  function outlineControls(outline) {
    const labels = new Map();
    for (let i = 0; i < count; i++) labels.set(stateOf(i).label, (labels.get(stateOf(i).label) || 0) + 1);
    const states = html(
      'select',
      { 'aria-label': 'State', change: (event) => outline.applyFilter({ kind: event.target.value }) },
      html('option', { value: '' }, 'All states'),
      ...Array.from(labels, ([label, n]) => html('option', { value: label }, `${label} (${integers.format(n)})`)),
    );
    return html(
      'div',
      { class: 'controls' },
      searchField('Search the tree of currencies', (text) => outline.applyFilter({ text })),
      states,
      html('button', { type: 'button', class: 'plain', click: () => outline.openAll(true) }, 'Expand all'),
      html('button', { type: 'button', class: 'plain', click: () => outline.openAll(false) }, 'Collapse all'),
      outline.status,
    );
  }

  function outlineHead() {
    return html(
      'div',
      { class: 'outline-row outline-head', 'aria-hidden': 'true' },
      html('div', null, 'Currency × rate of its peg'),
      html('div', { class: 'number' }, 'Price'),
      html('div', { class: 'state' }, 'State'),
      html('div', { class: 'number' }, 'Cleared'),
    );
  }

  // ---- Volume -----------------------------------------------------------------------------------------------------

  // wing draws one side of a butterfly chart: from the axis outwards the shared part, then the part of this side only.
  function wing(direction, kind, shared, own, scale) {
    return html(
      'td',
      { class: `wing ${direction}` },
      html('div', { class: 'wing-bars' }, bar('cleared', shared / scale), bar(kind, own / scale)),
    );
  }

  const measures = {
    cleared: (i) => currencies.cleared[i],
    offered: (i) => currencies.offered[i],
    wanted: (i) => currencies.wanted[i],
    unsold,
    unmet,
  };

  function drawVolumeChart(select) {
    const TOP = 15;
    const place = document.getElementById('volume-chart');
    const body = html('tbody');
    const active = indices((i) => currencies.offered[i] > 0 || currencies.wanted[i] > 0);
    if (active.length === 0) {
      place.append(html('p', { class: 'empty' }, 'There were no offers that could take part.'));
      return;
    }
    function draw(measure) {
      const top = [...active].sort((a, b) => measures[measure](b) - measures[measure](a)).slice(0, TOP);
      const scale = Math.max(...top.map((i) => Math.max(currencies.offered[i], currencies.wanted[i])));
      body.replaceChildren(...top.map((i) => volumeRow(i, scale, select)));
    }
    place.append(
      html(
        'div',
        { class: 'controls' },
        html('span', { class: 'note' }, `The ${Math.min(TOP, active.length)} largest by`),
        segments(
          'Order the chart by',
          [
            ['cleared', 'cleared'],
            ['offered', 'offered'],
            ['wanted', 'wanted'],
            ['unsold', 'unsold'],
            ['unmet', 'unmet'],
          ],
          draw,
        ),
      ),
      html(
        'div',
        { class: 'panel' },
        html(
          'table',
          { class: 'butterfly' },
          html('caption', { class: 'visually-hidden' }, 'Value offered, cleared and wanted of the largest currencies'),
          html(
            'thead',
            null,
            html(
              'tr',
              null,
              ...[
                ['Currency'],
                ['Offered', 'number'],
                ['← offered', 'left'],
                ['wanted →', 'right'],
                ['Wanted', 'number'],
              ].map(([text, kind]) => html('th', { scope: 'col', class: kind }, text)),
            ),
          ),
          body,
        ),
        html(
          'ul',
          { class: 'legend' },
          key('offered', 'offered, not sold'),
          key('cleared', 'cleared'),
          key('wanted', 'wanted, not met'),
        ),
      ),
    );
    draw('cleared');
  }

  function volumeRow(i, scale, select) {
    const cells = [
      html('th', { scope: 'row' }, linkTo(i, select)),
      html('td', { class: 'number' }, formatValue(currencies.offered[i])),
      wing('left', 'offered', currencies.cleared[i], unsold(i), scale),
      wing('right', 'wanted', currencies.cleared[i], unmet(i), scale),
      html('td', { class: 'number' }, formatValue(currencies.wanted[i])),
    ];
    return html(
      'tr',
      {
        mousemove: (event) =>
          tooltip.show(
            event,
            names[i],
            `offered ${formatValue(currencies.offered[i])}`,
            `wanted ${formatValue(currencies.wanted[i])}`,
            `cleared ${formatValue(currencies.cleared[i])}`,
          ),
        mouseleave: tooltip.hide,
      },
      ...cells,
    );
  }

  // linkTo is the name of a currency; a click leads to it in the tree.
  function linkTo(i, select) {
    const go = () => {
      select(i);
      document.querySelector('.tree').scrollIntoView({ block: 'center' });
    };
    return html(
      'button',
      { type: 'button', class: 'link', click: go, title: currencies.locator[i] },
      html('span', { class: 'name' }, shorten(names[i], 48)),
    );
  }

  const volumeColumns = [
    { title: 'Currency', sort: (i) => names[i] },
    { title: 'Debtor ID', sort: (i) => BigInt(currencies.id[i]), text: (i) => currencies.id[i] },
    { title: 'Price', sort: (i) => currencies.price[i], text: (i) => formatPrice(currencies.price[i]) },
    { title: 'Offered', sort: measures.offered },
    { title: 'Wanted', sort: measures.wanted },
    { title: 'Cleared', sort: measures.cleared },
    { title: 'Supply sold', sort: supplyShare, text: (i) => formatShare(supplyShare(i)) },
    { title: 'Demand met', sort: demandShare, text: (i) => formatShare(demandShare(i)) },
    { title: 'Unsold', sort: unsold },
    { title: 'Unmet', sort: unmet },
  ];

  function drawVolumeTable(select) {
    const place = document.getElementById('volume-table');
    const rows = indices((i) => stateOf(i).kind === 'good');
    if (rows.length === 0) return;
    const keys = new Map(volumeColumns.map((column) => [column, rows.length ? sortKeys(column) : []]));
    let column = volumeColumns[5];
    let descending = true;
    let size = 25;
    let page = 0;
    let found = rows;

    const body = html('tbody');
    const status = html('span', { class: 'status', role: 'status' });
    const back = html('button', { type: 'button', class: 'plain', click: () => turn(page - 1) }, '← Previous');
    const next = html('button', { type: 'button', class: 'plain', click: () => turn(page + 1) }, 'Next →');
    const heads = volumeColumns.map((c, k) =>
      html(
        'th',
        { scope: 'col', class: k > 0 ? 'number' : undefined },
        html('button', { type: 'button', click: () => sortBy(c) }, c.title),
      ),
    );

    function turn(to) {
      page = Math.max(0, Math.min(to, Math.ceil(found.length / size) - 1));
      const first = page * size;
      const shown = found.slice(first, first + size);
      body.replaceChildren(...shown.map((i) => html('tr', null, ...volumeCells(i, select))));
      back.disabled = page === 0;
      next.disabled = first + size >= found.length;
      const range = `${integers.format(first + 1)}–${integers.format(first + shown.length)}`;
      const all = plural(found.length, 'tradable currency', 'tradable currencies');
      status.textContent = found.length === 0 ? 'No currency matches.' : `${range} of ${all}`;
    }

    function sortBy(chosen) {
      descending = chosen === column ? !descending : chosen !== volumeColumns[0];
      column = chosen;
      arrange();
    }

    // arrange sorts the rows; what has no value, like the share of nothing, comes last.
    function arrange() {
      const by = keys.get(column);
      const sign = descending ? -1 : 1;
      found = [...found].sort((a, b) => compareKeys(by[a], by[b], sign) || a - b);
      heads.forEach((head, k) => {
        if (volumeColumns[k] === column) head.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
        else head.removeAttribute('aria-sort');
      });
      turn(0);
    }

    function search(text) {
      found = rows.filter((i) => haystack[i].includes(text));
      arrange();
    }

    const sizes = html(
      'select',
      {
        'aria-label': 'Rows a page',
        change: (event) => {
          size = Number(event.target.value);
          turn(0);
        },
      },
      ...[25, 50, 100, 250].map((n) => html('option', { value: n }, `${n} rows`)),
    );
    place.append(
      html(
        'div',
        { class: 'table-frame' },
        html('div', { class: 'controls' }, searchField('Search the table of currencies', search), sizes),
        html(
          'div',
          { class: 'table-scroll', tabindex: '0', role: 'region', 'aria-label': 'Volume of all tradable currencies' },
          html('table', { class: 'data' }, html('thead', null, html('tr', null, ...heads)), body),
        ),
        html('div', { class: 'pager' }, status, back, next),
      ),
    );
    arrange();
  }

  function sortKeys(column) {
    return Array.from({ length: count }, (_, i) => column.sort(i));
  }

  function compareKeys(a, b, sign) {
    if (typeof a === 'string') return sign * (a < b ? -1 : Number(a > b));
    const [aMissing, bMissing] = [Number.isNaN(a), Number.isNaN(b)];
    if (aMissing || bMissing) return aMissing - bMissing;
    return sign * (a < b ? -1 : Number(a > b));
  }

  function volumeCells(i, select) {
    return volumeColumns.map((column, k) => {
      if (k === 0) return html('th', { scope: 'row' }, linkTo(i, select));
      const zero = column.sort(i) === 0;
      return html(
        'td',
        { class: zero ? 'number zero' : 'number' },
        column.text ? column.text(i) : formatValue(column.sort(i)),
      );
    });
  }

  // ---- Satisfaction -----------------------------------------------------------------------------------------------

  function drawSatisfaction(select) {
    const place = document.getElementById('satisfaction-charts');
    const bins = data.satisfaction;
    const some = bins.supply.some(Boolean) || bins.demand.some(Boolean);
    if (!some) {
      place.append(html('p', { class: 'empty' }, 'There were no offers that could take part.'));
      return;
    }
    place.append(html('div', { class: 'columns' }, satisfactionHistogram(bins), satisfactionScatter(select)));
  }

  function satisfactionHistogram(bins) {
    const body = html('tbody');
    function draw(measure) {
      const [supply, demand] = measure === 'value' ? [bins.supplyValue, bins.demandValue] : [bins.supply, bins.demand];
      const scale = Math.max(...supply, ...demand);
      const format = measure === 'value' ? formatValue : integers.format;
      body.replaceChildren(
        ...bins.labels.map((label, k) =>
          html(
            'tr',
            null,
            html('th', { scope: 'row' }, label.replace(' %', `${NBSP}%`)),
            html('td', { class: 'number' }, supply[k] ? format(supply[k]) : ''),
            html('td', { class: 'wing left' }, html('div', { class: 'wing-bars' }, bar('offered', supply[k] / scale))),
            html('td', { class: 'wing right' }, html('div', { class: 'wing-bars' }, bar('wanted', demand[k] / scale))),
            html('td', { class: 'number' }, demand[k] ? format(demand[k]) : ''),
          ),
        ),
      );
    }
    draw('count');
    return html(
      'div',
      { class: 'panel' },
      html('h3', null, 'Share of supply sold and of demand met'),
      html(
        'div',
        { class: 'controls' },
        segments(
          'Measure the classes by',
          [
            ['count', 'currencies'],
            ['value', 'value'],
          ],
          draw,
        ),
      ),
      html(
        'table',
        { class: 'butterfly' },
        html(
          'caption',
          { class: 'visually-hidden' },
          'Currencies by the share of their supply sold and of their demand met',
        ),
        html(
          'thead',
          null,
          html(
            'tr',
            null,
            ...[['Share'], ['', 'number'], ['← sold', 'left'], ['met →', 'right'], ['', 'number']].map(
              ([text, kind]) => (text ? html('th', { scope: 'col', class: kind }, text) : html('td', { class: kind })),
            ),
          ),
        ),
        body,
      ),
    );
  }

  function satisfactionScatter(select) {
    const MARGIN = { left: 44, right: 16, top: 30, bottom: 36 };
    const points = indices((i) => currencies.offered[i] > 0 && currencies.wanted[i] > 0);
    const volume = (i) => currencies.offered[i] + currencies.wanted[i];
    points.sort((a, b) => volume(b) - volume(a));
    const largest = points.length ? volume(points[0]) : 1;
    const oneSided = indices((i) => currencies.offered[i] > 0 !== currencies.wanted[i] > 0).length;
    let spots = [];

    const { canvas } = canvasOf(
      'Scatter plot: share of supply sold against share of demand met, a dot for each currency. ' +
        'The table above has the numbers.',
      (width) => Math.min(420, Math.max(280, width * 0.75)),
      draw,
    );

    function draw(context, width, height) {
      const [cleared, soft, line] = palette('cleared', 'soft', 'line');
      const x = (share) => MARGIN.left + share * (width - MARGIN.left - MARGIN.right);
      const y = (share) => height - MARGIN.bottom - share * (height - MARGIN.top - MARGIN.bottom);
      drawAxes(context, x, y, soft, line);
      spots = points.map((i) => ({
        i,
        x: x(supplyShare(i)),
        y: y(demandShare(i)),
        r: 2.5 + 11 * Math.sqrt(volume(i) / largest),
      }));
      context.fillStyle = cleared;
      context.strokeStyle = cleared;
      for (const spot of spots) {
        context.beginPath();
        context.arc(spot.x, spot.y, spot.r, 0, 2 * Math.PI);
        context.globalAlpha = points.length > 400 ? 0.16 : 0.35;
        context.fill();
        context.globalAlpha = points.length > 400 ? 0.4 : 0.9;
        context.stroke();
      }
      context.globalAlpha = 1;
    }

    function nearest(event) {
      const { left, top } = canvas.getBoundingClientRect();
      const [px, py] = [event.clientX - left, event.clientY - top];
      let best = null;
      let least = 18;
      for (const spot of spots) {
        const distance = Math.hypot(spot.x - px, spot.y - py) - Math.min(spot.r, 8);
        if (distance < least) [best, least] = [spot, distance];
      }
      return best;
    }

    canvas.addEventListener('mousemove', (event) => {
      const spot = nearest(event);
      if (!spot) return tooltip.hide();
      return tooltip.show(
        event,
        names[spot.i],
        `supply sold ${formatShare(supplyShare(spot.i))} of ${formatValue(currencies.offered[spot.i])}`,
        `demand met ${formatShare(demandShare(spot.i))} of ${formatValue(currencies.wanted[spot.i])}`,
      );
    });
    canvas.addEventListener('mouseleave', tooltip.hide);
    canvas.addEventListener('click', (event) => {
      const spot = nearest(event);
      if (spot) select(spot.i);
    });
    const note = oneSided ? ` ${integers.format(oneSided)} with only sellers or only buyers are not shown.` : '';
    return html(
      'div',
      { class: 'panel scatter' },
      html('h3', null, 'Each currency by both shares'),
      canvas,
      html('p', { class: 'axis-note' }, `A dot is a currency, as large as its offered and wanted value.${note}`),
    );
  }

  function drawAxes(context, x, y, soft, line) {
    context.strokeStyle = line;
    context.fillStyle = soft;
    context.lineWidth = 1;
    context.font = `12px ${palette('font')[0]}`;
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      context.beginPath();
      context.moveTo(x(0), y(share));
      context.lineTo(x(1), y(share));
      context.moveTo(x(share), y(0));
      context.lineTo(x(share), y(1));
      context.stroke();
      context.textAlign = 'right';
      context.fillText(`${share * 100}${NBSP}%`, x(0) - 8, y(share) + 4);
      if (share === 0 || share === 1) continue;
      context.textAlign = 'center';
      context.fillText(`${share * 100}${NBSP}%`, x(share), y(0) + 16);
    }
    context.textAlign = 'left';
    context.fillText('demand met ↑', x(0), y(1) - 16);
    context.textAlign = 'right';
    context.fillText('supply sold →', x(1), y(0) + 30);
    context.textAlign = 'left';
  }

  // ---- Ring lengths -----------------------------------------------------------------------------------------------

  function drawLengths() {
    const place = document.getElementById('lengths-chart');
    if (data.lengths.length === 0) {
      place.append(html('p', { class: 'empty' }, 'No rings were closed.'));
      return;
    }
    const rings = data.lengths.reduce((sum, bin) => sum + bin.count, 0);
    const value = data.lengths.reduce((sum, bin) => sum + bin.value, 0);
    const scale = Math.max(...data.lengths.map((bin) => Math.max(bin.count / rings, bin.value / value)));
    const rows = data.lengths.map((bin) =>
      html(
        'tr',
        null,
        html('th', { scope: 'row' }, bin.from === bin.to ? String(bin.from) : `${bin.from}–${bin.to}`),
        html('td', null, bar('offered', bin.count / rings / scale)),
        html('td', { class: 'number' }, integers.format(bin.count)),
        html('td', { class: 'number part' }, formatShare(bin.count / rings)),
        html('td', null, bar('cleared', bin.value / value / scale)),
        html('td', { class: 'number' }, formatValue(bin.value)),
        html('td', { class: 'number part' }, formatShare(bin.value / value)),
      ),
    );
    place.append(
      html(
        'div',
        { class: 'panel' },
        html(
          'table',
          { class: 'lengths' },
          html('caption', { class: 'visually-hidden' }, 'Number and value of the rings by length'),
          html(
            'thead',
            null,
            html(
              'tr',
              null,
              html('th', { scope: 'col', class: 'number' }, 'Traders'),
              html('th', { scope: 'col' }, html('i', { class: 'key offered' }), 'Rings'),
              html('td'),
              html('td', { class: 'part' }),
              html('th', { scope: 'col' }, html('i', { class: 'key cleared' }), 'Value'),
              html('td'),
              html('td', { class: 'part' }),
            ),
          ),
          html('tbody', null, ...rows),
        ),
      ),
    );
  }

  // ---- The largest rings ------------------------------------------------------------------------------------------

  const polar = (radius, angle) =>
    [radius * Math.sin(angle), -radius * Math.cos(angle)].map((v) => Number(v.toFixed(2)));

  function drawRings() {
    const place = document.getElementById('rings-gallery');
    if (data.rings.length === 0) {
      place.append(html('p', { class: 'empty' }, 'No rings were closed.'));
      return;
    }
    const panel = html('div', { class: 'panel', role: 'tabpanel', id: 'ring-panel', tabindex: '0' });
    const thumbs = data.rings.map((ring, k) => thumbOf(ring, k, () => show(k)));
    let current = 0;
    let width = 0;

    function show(k) {
      current = k;
      thumbs.forEach((thumb, at) => {
        thumb.setAttribute('aria-selected', String(at === k));
        thumb.tabIndex = at === k ? 0 : -1;
      });
      panel.setAttribute('aria-label', `Ring ${k + 1}, of ${integers.format(data.rings[k].length)} traders`);
      panel.replaceChildren(...drawRing(data.rings[k], width));
    }

    function onKey(event) {
      const moves = {
        ArrowDown: 1,
        ArrowRight: 1,
        ArrowUp: -1,
        ArrowLeft: -1,
        Home: -current,
        End: thumbs.length - 1 - current,
      };
      if (!(event.key in moves)) return;
      event.preventDefault();
      show(Math.max(0, Math.min(current + moves[event.key], thumbs.length - 1)));
      thumbs[current].focus();
    }

    place.append(
      html(
        'div',
        { class: 'gallery' },
        html('div', { class: 'thumbs', role: 'tablist', 'aria-label': 'The largest rings', keydown: onKey }, ...thumbs),
        panel,
      ),
    );
    onWidth(panel, () => {
      const style = getComputedStyle(panel);
      width = Math.floor(panel.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
      show(current);
    });
  }

  function thumbOf(ring, k, onClick) {
    const dots = Math.min(ring.length, 48);
    const nodes = Array.from({ length: dots }, (_, at) => {
      const [cx, cy] = polar(15, (2 * Math.PI * at) / dots);
      return svg('circle', { class: 'node', cx, cy, r: dots > 24 ? 1.2 : 2.8 });
    });
    return html(
      'button',
      { type: 'button', class: 'thumb', role: 'tab', 'aria-controls': 'ring-panel', click: onClick },
      svg(
        'svg',
        { viewBox: '-20 -20 40 40', 'aria-hidden': 'true' },
        svg('circle', { class: 'track', r: 15 }),
        ...nodes,
      ),
      html(
        'span',
        null,
        html('b', null, formatValue(ring.value)),
        html('span', { class: 'note' }, `by ${integers.format(ring.length)} traders`),
      ),
    );
  }

  // drawRing draws a ring into a width, and lists its steps. Of long rings only some arrows have a label.
  function drawRing(ring, width) {
    const wide = width >= 560;
    const height = wide ? 420 : 340;
    const radius = wide ? 148 : Math.min(92, width / 2 - 86);
    const n = ring.length;
    const arcs = [];
    const shapes = n <= 120 ? ringArrows(ring, radius, arcs) : ringBand(radius);
    const drawing = svg(
      'svg',
      {
        class: 'ring-drawing',
        viewBox: `${-width / 2} ${-height / 2} ${width} ${height}`,
        height,
        role: 'img',
        'aria-label': `A ring of ${n} traders, each giving ${formatValue(ring.value)}. The table below lists its steps.`,
      },
      ...shapes,
      ...ringNodes(ring, radius),
      ...(wide ? ringTraders(ring, radius) : []),
      ...ringLabels(ring, radius, width, wide),
      svg('text', { class: 'total', y: 2 }, formatValue(ring.value)),
      svg('text', { class: 'caption', y: 22 }, `from each of ${integers.format(n)} traders`),
    );
    return [drawing, stepTable(ring, arcs)];
  }

  function nodeRadius(n) {
    return n <= 14 ? 12 : n <= 40 ? 5 : 2.5;
  }

  // ringArrows draws an arrow from each trader to the next one, clockwise.
  function ringArrows(ring, radius, arcs) {
    const n = ring.length;
    const turn = (2 * Math.PI) / n;
    const head = n <= 14 ? 9 : n <= 40 ? 6 : 4;
    const margin = Math.min(nodeRadius(n) / radius + 0.02, turn / 3);
    return Array.from({ length: n }, (_, k) => {
      const [from, to] = [k * turn + margin, (k + 1) * turn - margin];
      const neck = Math.max(from, to - head / radius);
      const [x1, y1] = polar(radius, from);
      const [x2, y2] = polar(radius, neck);
      const large = neck - from > Math.PI ? 1 : 0;
      const arc = svg('path', { class: 'arc', d: `M${x1} ${y1}A${radius} ${radius} 0 ${large} 1 ${x2} ${y2}` });
      arcs.push(arc);
      const [outer, inner, tip] = [polar(radius + head / 2, neck), polar(radius - head / 2, neck), polar(radius, to)];
      return svg('g', null, arc, svg('path', { class: 'tip', d: `M${outer}L${tip}L${inner}Z` }));
    });
  }

  // ringBand stands for more arrows than can be told apart.
  function ringBand(radius) {
    const tips = [0, 1, 2, 3].map((k) => {
      const at = (k + 0.5) * (Math.PI / 2);
      return svg('path', {
        class: 'tip',
        d: `M${polar(radius + 7, at)}L${polar(radius, at + 0.1)}L${polar(radius - 7, at)}Z`,
      });
    });
    return [svg('circle', { class: 'arc', r: radius, 'stroke-dasharray': '2 3' }), ...tips];
  }

  function ringNodes(ring, radius) {
    const n = ring.length;
    if (n > 120) return [];
    return Array.from({ length: n }, (_, k) => {
      const [cx, cy] = polar(radius, (2 * Math.PI * k) / n);
      if (n > 14) return svg('circle', { class: 'dot-node', cx, cy, r: nodeRadius(n) });
      return svg(
        'g',
        null,
        svg('circle', { class: 'node', cx, cy, r: nodeRadius(n) }),
        svg('text', { class: 'order', x: cx, y: cy }, String(k + 1)),
        svg('title', null, ring.steps[k] ? `Trader ${ring.steps[k][0]}` : ''),
      );
    });
  }

  // ringTraders tells who the traders of a short ring are, inside of it.
  function ringTraders(ring, radius) {
    const n = ring.length;
    if (n > 8) return [];
    return ring.steps.map(([creditor], k) => {
      const angle = (2 * Math.PI * k) / n;
      const [x, y] = polar(radius - 20, angle);
      const side = Math.sin(angle);
      const anchor = Math.abs(side) < 0.15 ? 'middle' : side > 0 ? 'end' : 'start';
      return svg(
        'text',
        { class: 'trader soft', x, y: y - 6 * Math.sign(y) * (anchor === 'middle' ? 1 : 0), 'text-anchor': anchor },
        creditor.length > 9 ? `…${creditor.slice(-7)}` : creditor,
      );
    });
  }

  // ringLabels tells at the arrows what is given: at all of them if they are few, else at some, evenly spread.
  function ringLabels(ring, radius, width, wide) {
    const n = ring.length;
    const most = wide ? 12 : 8;
    const shown = n <= most ? n : most - 2;
    const letters = Math.max(6, Math.min(34, Math.floor((width / 2 - radius - 18) / 7)));
    const labels = [];
    for (let at = 0; at < shown; at++) {
      const k = Math.floor((at * n) / shown);
      if (k >= ring.steps.length) break;
      const angle = (2 * Math.PI * (k + 0.5)) / n;
      const [x, y] = polar(radius + 16, angle);
      const side = Math.sin(angle);
      const anchor = Math.abs(side) < 0.15 ? 'middle' : side > 0 ? 'start' : 'end';
      const rise = y < 0 ? -12 * Math.abs(Math.cos(angle)) : 8 * Math.abs(Math.cos(angle));
      const [, debtor, amount] = ring.steps[k];
      labels.push(
        svg(
          'text',
          { x, y: y + rise, 'text-anchor': anchor },
          svg('tspan', { class: 'amount', x }, wide ? formatAmount(amount) : formatValue(Number(amount))),
          svg('tspan', { class: 'soft', x, dy: 15 }, shorten(nameOfDebtor(debtor), letters)),
        ),
      );
    }
    return labels;
  }

  function stepTable(ring, arcs) {
    const highlight = (k, on) => arcs[k] && arcs[k].classList.toggle('hot', on);
    const rows = ring.steps.map(([creditor, debtor, amount], k) =>
      html(
        'tr',
        {
          mouseenter: () => highlight(k, true),
          mouseleave: () => highlight(k, false),
        },
        html('td', { class: 'number' }, integers.format(k + 1)),
        html('td', { class: 'number' }, creditor),
        html('td', { class: 'number' }, formatAmount(amount)),
        html(
          'th',
          { scope: 'row' },
          html('span', { class: 'name', title: `debtor ID ${debtor}` }, nameOfDebtor(debtor)),
        ),
        html('td', { class: 'number' }, integers.format(((k + 1) % ring.length) + 1)),
      ),
    );
    const left = ring.length - ring.steps.length;
    return html(
      'div',
      { class: 'steps', tabindex: '0', role: 'region', 'aria-label': 'Steps of the ring' },
      html(
        'table',
        { class: 'data' },
        html(
          'thead',
          null,
          html(
            'tr',
            null,
            html('th', { scope: 'col', class: 'number' }, 'No.'),
            html('th', { scope: 'col', class: 'number' }, 'Trader'),
            html('th', { scope: 'col', class: 'number' }, 'gives'),
            html('th', { scope: 'col' }, 'of'),
            html('th', { scope: 'col', class: 'number' }, 'to no.'),
          ),
        ),
        html('tbody', null, ...rows),
      ),
      left > 0 ? html('p', { class: 'note more' }, `… and ${integers.format(left)} more steps.`) : null,
    );
  }

  // -----------------------------------------------------------------------------------------------------------------

  const select = drawTree();
  drawVolumeChart(select);
  drawVolumeTable(select);
  drawSatisfaction(select);
  drawLengths();
  drawRings();
  for (const draw of whenComplete) draw();
  root.dataset.report = 'ready';
})();
