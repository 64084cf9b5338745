// SPDX-License-Identifier: MIT
// Draws the report of one migration (spec/05-report.md).
'use strict';

const T = report.timeline || {phases: [], events: [], lanes: [], samples: {at_us: []}, end_us: 0};
const S = T.samples;
const MARKED = ['connected', 'request', 'ack', 'reinit', 'stopped', 'commit', 'running', 'postcopy',
  'cut', 'resumed', 'held', 'running at the source again'];
const LEFT = 120, RIGHT = 14; // of every plot, so that all have the same time axis

const at = name => { const e = T.events.find(e => e.event === name); return e ? e.at_us : null; };
const last = name => { const l = T.events.filter(e => e.event === name); return l.length ? l[l.length - 1].at_us : null; };

// ---- the part of the time that is shown ----

let range = [0, Math.max(T.end_us, 1)];
function ranges() {
  const stopped = last('stopped'), running = at('running'), postcopy = at('postcopy');
  const all = [['whole', 0, T.end_us]];
  if (stopped !== null) {
    const end = running !== null && running >= stopped ? running : T.end_us;
    const room = Math.max((end - stopped) * 0.5, 2000);
    all.push(['switchover', Math.max(0, stopped - room), Math.min(T.end_us, end + room)]);
  }
  if (postcopy !== null) all.push(['precopy', 0, postcopy], ['postcopy', postcopy, T.end_us]);
  return all;
}
// The part named behind the # of the address comes first.
function rangeButtons() {
  const list = ranges(), wanted = list.find(r => '#' + r[0] === location.hash) || list[0];
  const choose = ([, from, to]) => { range = [from, Math.max(to, from + 1)]; };
  const buttons = list.map(r => {
    const b = el('button', {'aria-pressed': r === wanted}, r[0]);
    b.addEventListener('click', () => {
      choose(r);
      buttons.forEach(x => x.setAttribute('aria-pressed', x === b));
      redraw();
    });
    return b;
  });
  choose(wanted);
  return el('span', {class: 'ranges'}, buttons);
}

// ---- lanes: plain elements, in per cent of the range ----

const percent = us => 100 * (us - range[0]) / (range[1] - range[0]);
const stateNames = [...new Set(['open', ...T.phases.map(p => p.state), ...T.lanes.flatMap(l => l.states.map(s => s.state))])];
function stateHue(name) {
  return hue(stateNames.indexOf(name)) + (dark.matches ? 'd0' : '66');
}
function bands(list, end) {
  return list.map((p, i) => {
    const to = i + 1 < list.length ? list[i + 1].at_us : end;
    if (to < range[0] || p.at_us > range[1]) return null;
    const a = Math.max(p.at_us, range[0]), b = Math.min(to, range[1]);
    return el('div', {class: 'band', title: `${p.state}: ${micros(to - p.at_us)} from ${micros(p.at_us)}`,
      style: `left:${percent(a)}%;width:${percent(b) - percent(a)}%;background:${stateHue(p.state)}`}, p.state);
  });
}
function lane(name, children, kind) {
  return el('div', {class: kind ? 'lane ' + kind : 'lane'}, el('div', {class: 'name', title: name}, name),
    el('div', {class: 'track'}, children));
}
// Labels of marks in rows, so that none lies on another one.
function marks() {
  const rows = [];
  for (const e of T.events.filter(e => MARKED.includes(e.event) && e.at_us >= range[0] && e.at_us <= range[1])) {
    const x = percent(e.at_us), left = x > 80;
    const label = e.event + (e.lane !== undefined ? ' ' + T.lanes[e.lane].name : '');
    const width = label.length * 0.68 + 1, from = left ? x - width : x;
    let row = rows.find(r => r.every(([a, b]) => from > b || from + width < a));
    if (!row) rows.push(row = []);
    row.push([from, from + width]);
    const node = el('div', {class: left ? 'mark left' : 'mark', title: `${e.event} at ${micros(e.at_us)}`,
      style: left ? `right:${100 - x}%` : `left:${x}%`}, label);
    row.nodes = (row.nodes || []).concat(node);
  }
  return rows.slice(0, 8).map(r => lane('', r.nodes, 'marks'));
}
// What happened to one lane, on it.
const TICKS = {'initial data': '\u25b8', ack: '\u2713', reinit: '\u21bb'};
function ticks(index) {
  return T.events.filter(e => e.lane === index && TICKS[e.event] && e.at_us >= range[0] && e.at_us <= range[1])
    .map(e => el('div', {class: 'tick', title: `${e.event}${e.value ? ' ' + e.value : ''} at ${micros(e.at_us)}`,
      style: `left:${percent(e.at_us)}%`}, TICKS[e.event]));
}
const hasTicks = () => T.events.some(e => e.lane !== undefined && TICKS[e.event]);
function laneSpan(l) {
  const first = {at_us: l.at_us, state: 'open'};
  return l.states.length && l.states[0].at_us <= l.at_us ? l.states : [first, ...l.states];
}
function lanes() {
  const box = el('div', {class: 'lanes'});
  plots.push(() => box.replaceChildren(...marks(), lane('phase', bands(T.phases, T.end_us)),
    ...T.lanes.map((l, i) => lane(l.name, [...bands(laneSpan(l), T.end_us), ...ticks(i)]))));
  return box;
}

// ---- plots over time ----

const backdrop = { // the stretch without a running guest, and marks
  id: 'backdrop',
  beforeDatasetsDraw(chart) {
    const {ctx, chartArea: a, scales: {x}} = chart;
    const clamp = us => Math.min(Math.max(x.getPixelForValue(us / 1e6), a.left), a.right);
    const stopped = last('stopped'), running = at('running');
    ctx.save();
    if (stopped !== null) {
      ctx.fillStyle = hue(5) + '33';
      const from = clamp(stopped), to = clamp(running !== null && running >= stopped ? running : T.end_us);
      ctx.fillRect(from, a.top, Math.max(to - from, 1), a.bottom - a.top);
    }
    ctx.strokeStyle = css('--soft');
    ctx.setLineDash([2, 3]);
    for (const e of T.events) {
      if (!MARKED.includes(e.event) || e.at_us < range[0] || e.at_us > range[1]) continue;
      const place = clamp(e.at_us);
      ctx.beginPath(); ctx.moveTo(place, a.top); ctx.lineTo(place, a.bottom); ctx.stroke();
    }
    ctx.restore();
  },
};
function rate(column) { // a second, out of totals
  return S.at_us.map((t, i) => i === 0 ? {x: t / 1e6, y: 0} :
    {x: t / 1e6, y: (column[i] - column[i - 1]) / Math.max((t - S.at_us[i - 1]) / 1e6, 1e-6)});
}
function level(column) { return S.at_us.map((t, i) => ({x: t / 1e6, y: column[i]})); }

function overTime(unit, lines, format, stacked) {
  const binary = /B/.test(format(0));
  const top = () => { // of what is shown
    const seen = S.at_us.map((t, i) => i).filter(i => S.at_us[i] >= range[0] && S.at_us[i] <= range[1]);
    return peak(seen.map(i => lines.reduce((a, l) => stacked ? a + l.data[i].y : Math.max(a, l.data[i].y), 0)));
  };
  return plot(() => ({
    type: 'line',
    data: {datasets: lines.map((l, i) => ({label: l.label, data: l.data, parsing: false,
      borderColor: hue(l.hue ?? i), backgroundColor: hue(l.hue ?? i) + '40', borderWidth: 1.6,
      pointRadius: S.at_us.length < 40 ? 1.5 : 0, borderDash: l.dash ? [5, 4] : [], fill: stacked ? 'stack' : false,
      stepped: !!l.step, yAxisID: l.axis || 'y'}))},
    options: {
      normalized: true, interaction: {mode: 'index', intersect: false},
      layout: {padding: {right: lines.some(l => l.axis) ? 0 : RIGHT}},
      plugins: {
        legend: {position: 'top', align: 'start', labels: {boxWidth: 14, boxHeight: 2}},
        tooltip: {callbacks: {title: items => digits(items[0].parsed.x) + ' s',
          label: c => `${c.dataset.label}: ${(lines[c.datasetIndex].format || format)(c.parsed.y)}`}},
      },
      scales: Object.assign({
        x: {type: 'linear', min: range[0] / 1e6, max: range[1] / 1e6, ticks: {callback: v => +v.toFixed(3) + ' s', align: 'inner', maxRotation: 0}},
        y: {beginAtZero: true, stacked: !!stacked, afterFit: s => { s.width = LEFT; }, title: {display: true, text: unit},
          ticks: Object.assign({callback: v => format(v)}, binary ? {stepSize: binaryStep(top())} : {maxTicksLimit: 6})},
      }),
    },
    plugins: [backdrop],
  }));
}
const peak = column => (column || []).reduce((a, b) => Math.max(a, b), 0);
const some = column => (column || []).some(v => v > 0);
const perSecond = v => bytes(Math.round(v)) + '/s';

function timePlots() {
  const out = [];
  if (S.at_us.length < 2) return [el('p', {class: 'caption'}, 'Too short for samples over time.')];
  const flow = [{label: 'bandwidth', data: rate(S.bytes)}];
  if (some(S.dirty_rate)) flow.push({label: 'dirty rate', data: level(S.dirty_rate)});
  if (peak(S.bytes_back) > peak(S.bytes) / 100) flow.push({label: 'back', data: rate(S.bytes_back), hue: 6});
  out.push(overTime('rate', flow, perSecond));
  if (some(S.pending)) out.push(overTime('to send', [{label: 'pending', data: level(S.pending), hue: 3},
    ...some(S.threshold) ? [{label: 'fits into the downtime limit', data: level(S.threshold), hue: 2, dash: true}] : []], v => bytes(Math.round(v))));
  if (some(S.expected_downtime_us)) out.push(overTime('downtime', [{label: 'expected downtime', data: level(S.expected_downtime_us), hue: 4}], micros));
  if (some(S.throttle)) out.push(overTime('throttle', [{label: 'virtual CPUs held back', data: level(S.throttle), hue: 5, step: true}], v => v + ' %'));
  if (some(S.faults)) out.push(overTime('faults', [{label: 'pages that the guest waits for', data: level(S.faults), hue: 5, step: true}], v => digits(v)));
  return out;
}
function lanePlots() {
  const of = kind => T.lanes.filter(l => l.kind === kind && l.series && l.name !== 'ram' && some(l.series.bytes));
  const out = [], channels = of('channel'), devices = of('device');
  if (S.at_us.length < 2) return out;
  if (channels.length > 1) out.push(overTime('channels', channels.map(l => ({label: l.name, data: rate(l.series.bytes)})), perSecond, true));
  if (devices.length) out.push(overTime('devices', devices.map(l => ({label: l.name, data: level(l.series.bytes)})), v => bytes(Math.round(v))));
  const going = T.lanes.filter(l => l.total && l.series && some(l.series.done));
  if (going.length) out.push(overTime('progress', going.map(l => ({label: l.name, data: level(l.series.done.map(d => 100 * d / l.total))})), v => digits(v) + ' %'));
  return out;
}

// ---- latencies ----

const LATENCIES = {fault: 'Fault latency (page asked for until it is in place)',
  request: 'Request latency (request received until its page is out)', map: 'Map latency'};

// Buckets into twelve bars to a factor of ten.
function bars(h) {
  const step = ns => Math.floor(12 * Math.log10(Math.max(ns, 1)));
  const sum = {};
  for (const [low, high, n] of h.buckets) sum[step((low + high) / 2)] = (sum[step((low + high) / 2)] || 0) + n;
  const keys = Object.keys(sum).map(Number), out = [];
  for (let k = Math.min(...keys); k <= Math.max(...keys); k++) out.push([Math.pow(10, k / 12), Math.pow(10, (k + 1) / 12), sum[k] || 0]);
  return out;
}
function latency(name, h) {
  const b = bars(h);
  const lines = {id: 'quantiles', afterDatasetsDraw(chart) {
    const {ctx, chartArea: a} = chart;
    const px = ns => {
      const i = b.findIndex(x => ns < x[1]), j = i < 0 ? b.length - 1 : i;
      const part = Math.min(Math.max(Math.log(ns / b[j][0]) / Math.log(b[j][1] / b[j][0]), 0), 1);
      return a.left + (j + part) * (a.right - a.left) / b.length;
    };
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = css('--ink');
    ctx.font = '11px ' + Chart.defaults.font.family;
    ['p50_ns', 'p90_ns', 'p99_ns'].forEach((q, i) => {
      const x = px(h[q]), right = x > a.right - 90;
      ctx.beginPath(); ctx.moveTo(x, a.top); ctx.lineTo(x, a.bottom); ctx.stroke();
      ctx.textAlign = right ? 'right' : 'left';
      ctx.fillText(`${q.slice(0, 3)} ${micros(h[q] / 1e3)}`, x + (right ? -4 : 4), a.top + 11 + 13 * i);
    });
    ctx.restore();
  }};
  return section(LATENCIES[name] || name,
    plot(() => ({type: 'bar', plugins: [lines],
      data: {labels: b.map(x => micros(x[0] / 1e3)), datasets: [{data: b.map(x => x[2]), backgroundColor: hue(0) + 'b0', barPercentage: 1, categoryPercentage: 0.94}]},
      options: {plugins: {legend: {display: false}, tooltip: {callbacks: {
        title: i => `${micros(b[i[0].dataIndex][0] / 1e3)} to ${micros(b[i[0].dataIndex][1] / 1e3)}`, label: c => count(c.parsed.y)}}},
      scales: {x: {grid: {display: false}, ticks: {maxRotation: 0, autoSkipPadding: 12}}, y: {beginAtZero: true, ticks: {precision: 0}, title: {display: true, text: 'count'}}}}}), true),
    table(['', 'count', 'mean', 'min', 'p50', 'p90', 'p99', 'max'], [[name, count(h.count),
      ...['mean_ns', 'min_ns', 'p50_ns', 'p90_ns', 'p99_ns', 'max_ns'].map(k => micros(h[k] / 1e3))]]));
}

// ---- figures ----

function head() {
  const t = report.timings || {}, fault = (report.latencies || {}).fault;
  const seconds = T.end_us / 1e6;
  return tiles([
    ['result', report.result || '?', {completed: 'good', failed: 'bad'}[report.result] || 'warn'],
    ['total time', micros(T.end_us)],
    t.downtime_us !== undefined ? ['downtime', micros(t.downtime_us)] : null,
    ['on the wire', bytes(report.bytes || 0)],
    seconds > 0 ? ['mean bandwidth', bytes((report.bytes || 0) / seconds) + '/s'] : null,
    report.cpu ? ['processor time', micros(report.cpu.user_us + report.cpu.system_us)] : null,
    report.rounds ? ['rounds', count(report.rounds)] : null,
    some(S.dirty_rate) ? ['highest dirty rate', bytes(peak(S.dirty_rate)) + '/s'] : null,
    some(S.throttle) ? ['highest throttle', peak(S.throttle) + ' %'] : null,
    fault ? ['fault p50', micros(fault.p50_ns / 1e3)] : null,
    fault ? ['fault p99', micros(fault.p99_ns / 1e3)] : null,
  ]);
}
function failure() {
  const e = report.error;
  if (!e) return null;
  return section('Why it ended', el('p', {class: 'bad'}, `${e.code}: ${e.message}`),
    el('p', {class: 'caption'}, `${e.class} error, clause ${e.clause || '-'}, channel ${e.channel}, offset ${count(e.offset)}, record ${count(e.record)}`));
}
function phaseTable() {
  return table(['<phase', 'from', 'for', '<'], T.phases.map((p, i) => {
    const to = i + 1 < T.phases.length ? T.phases[i + 1].at_us : T.end_us;
    return [p.state, micros(p.at_us), micros(to - p.at_us), ''];
  }));
}
function laneTable() {
  return table(['<lane', '<kind', 'bytes', 'back', 'pages', 'zero pages', 'progress'], T.lanes.map(l => [l.name, l.kind, bytes(l.bytes),
    bytes(l.bytes_back), count(l.pages), count(l.zero_pages), l.total ? digits(100 * l.done / l.total) + ' %' : '']));
}
function eventTable() {
  return table(['at', '<event', '<of', 'value', '<'], T.events.map(e => [micros(e.at_us), e.event,
    e.lane !== undefined ? T.lanes[e.lane].name : '', e.value ?? '', e.text || '']));
}
// What an end adds: objects of objects with numbers, as the blocks of RAM.
function objectTable(title, object) {
  const names = Object.keys(object || {});
  if (!names.length) return null;
  const keys = [...new Set(names.flatMap(n => Object.keys(object[n])))];
  return folded(title, table(['<', ...keys.map(k => k.replace(/_/g, ' '))], names.map(n => [n, ...keys.map(k => {
    const v = object[n][k];
    return typeof v === 'number' ? k === 'size' || k === 'bytes' ? bytes(v) : count(v) : v === undefined ? '' : String(v);
  })])));
}
function flat(object, prefix) {
  return Object.entries(object || {}).flatMap(([k, v]) => v !== null && typeof v === 'object' ? flat(v, prefix + k + '.') : [[prefix + k, String(v)]]);
}

page(`Migration: ${report.end || report.program || ''}`,
  [report.program, report.version, report.wire && 'wire ' + report.wire, report.session && 'session ' + report.session,
    T.started_unix_s && new Date(T.started_unix_s * 1000).toISOString().slice(0, 19) + 'Z'].filter(x => x).join(' · '),
  head(), failure(),
  el('section', {}, rangeButtons(), el('h2', {}, 'Timeline'), lanes(), ...timePlots(), ...lanePlots(),
    el('p', {class: 'caption'}, 'Shaded: the guest runs at neither end. Dotted: events.' + (hasTicks() ?
      ' On the lanes of devices: \u25b8 all initial data sent, \u2713 acknowledged, \u21bb new initial data (REINIT).' : ''))),
  ...Object.entries(report.latencies || {}).map(([name, h]) => latency(name, h)),
  el('div', {class: 'two'}, section('Phases', phaseTable()), section('Facts', table(['<', '<'], [...flat(report.facts, ''), ...flat(report.dialect, 'dialect.'), ...flat(report.timings, '').filter(([k]) => !k.endsWith('_us'))]))),
  section('Channels and devices', laneTable()),
  objectTable('RAM blocks', report.blocks),
  folded(`Events (${T.events.length}${T.events_lost ? ', ' + T.events_lost + ' not kept' : ''})`, eventTable()));
