// SPDX-License-Identifier: MIT
// Draws what migrate-bench has measured.
'use strict';

const value = (row, m) => row.metrics[m] ? row.metrics[m].median : null;
const gib = row => row.bytes / Math.pow(2, 30);
const family = row => row.name.startsWith('QEMU') ? 1 : row.name.startsWith('floor') ? 6 : row.name.startsWith('qevm') ? 2 : 0;
const label = row => row.name + (row.place ? ' · ' + row.place : '');

// Bars with their intervals.
function bars(rows, m, unit, scale) {
  const shown = rows.filter(r => value(r, m) !== null);
  if (!shown.length) return null;
  const range = {id: 'range', afterDatasetsDraw(chart) {
    const {ctx, scales: {x}} = chart;
    ctx.save();
    ctx.strokeStyle = css('--ink');
    chart.getDatasetMeta(0).data.forEach((bar, i) => {
      const s = shown[i].metrics[m], a = x.getPixelForValue(scale(s.low, shown[i])), b = x.getPixelForValue(scale(s.high, shown[i]));
      ctx.beginPath();
      ctx.moveTo(a, bar.y); ctx.lineTo(b, bar.y);
      for (const end of [a, b]) { ctx.moveTo(end, bar.y - 4); ctx.lineTo(end, bar.y + 4); }
      ctx.stroke();
    });
    ctx.restore();
  }};
  const box = plot(() => ({type: 'bar', plugins: [range],
    data: {labels: shown.map(label), datasets: [{data: shown.map(r => scale(value(r, m), r)),
      backgroundColor: shown.map(r => hue(family(r)) + 'b0'), barPercentage: 0.9, categoryPercentage: 0.9}]},
    options: {indexAxis: 'y', plugins: {legend: {display: false}, tooltip: {callbacks: {label: c => `${digits(c.parsed.x)} ${unit}`}}},
      scales: {x: {beginAtZero: true, suggestedMax: Math.max(...shown.flatMap(r => [scale(r.metrics[m].low, r), scale(r.metrics[m].high, r)])), title: {display: true, text: unit}}, y: {grid: {display: false}, ticks: {autoSkip: false}, afterFit: s => { s.width = 260; }}}}}));
  box.style.height = `${shown.length * 20 + 60}px`;
  return el('div', {}, el('p', {class: 'caption'}, `${unit}: median, with its interval`), box);
}

// A line for each way over the size of memory.
function bySize(rows) {
  const names = [...new Set(rows.map(r => r.name))];
  const points = n => rows.filter(r => r.name === n && value(r, 'SECONDS') !== null).sort((a, b) => a.bytes - b.bytes);
  return plot(() => ({type: 'line',
    data: {datasets: names.map((n, i) => ({label: n, borderColor: hue(i), backgroundColor: hue(i), borderWidth: 1.6, pointRadius: 2.5, parsing: false,
      borderDash: n.startsWith('QEMU') ? [6, 4] : n.startsWith('floor') ? [2, 3] : [],
      data: points(n).map(r => ({x: gib(r), y: value(r, 'SECONDS')}))}))},
    options: {interaction: {mode: 'nearest', intersect: false}, plugins: {tooltip: {callbacks: {title: i => digits(i[0].parsed.x) + ' GiB', label: c => `${c.dataset.label}: ${digits(c.parsed.y)} s`}}},
      scales: {x: {type: 'logarithmic', title: {display: true, text: 'guest memory, GiB'}, ticks: {callback: v => Number.isInteger(Math.log2(v)) ? v : ''},
        afterBuildTicks: a => { a.ticks = [0.25, 0.5, 1, 2, 4, 8].map(value => ({value})); }},
      y: {type: 'logarithmic', title: {display: true, text: 'total time, s'}, ticks: {callback: v => digits(v)}}}}}), true);
}

function figures(rows) {
  const columns = Object.keys(report.metrics).filter(m => rows.some(r => value(r, m) !== null));
  const show = (row, m) => {
    const s = row.metrics[m];
    if (!s) return '';
    if (m === 'WIRE') return bytes(Math.round(s.median));
    if (m.startsWith('CPU')) return digits(s.median / gib(row)) + ' s/GiB';
    const unit = report.metrics[m][1];
    return `${digits(s.median)}${unit ? ' ' + unit : ''}` + (s.count > 1 && m !== 'FAULTS' ? ` (${digits(s.low)} to ${digits(s.high)})` : '');
  };
  return el('details', {}, el('summary', {}, 'Figures'), table(['<way', '<place', 'GiB', ...columns.map(m => report.metrics[m][0]), 'rounds', '<'],
    rows.map(r => [r.name, r.place, digits(gib(r)), ...columns.map(m => show(r, m)), r.metrics.SECONDS ? r.metrics.SECONDS.count : r.metrics.FAULT_MEAN ? r.metrics.FAULT_MEAN.count : 0, r.error ? el('span', {class: 'bad'}, r.error) : r.skipped ? 'skipped: ' + r.skipped : ''])));
}

const PLOTS = {
  dirty: rows => [bars(rows, 'SECONDS', 'total time, s', x => x), bars(rows, 'DOWNTIME', 'downtime, ms', x => x), bars(rows, 'CPU_SRC', 'processor seconds a GiB, source', (s, r) => s / gib(r))],
  whole: rows => [...new Set(rows.map(r => r.place))].flatMap(p => {
    const at = rows.filter(r => r.place === p);
    return [bars(at, 'SECONDS', 'GiB of guest memory a second', (s, r) => gib(r) / s),
      el('div', {class: 'two'}, bars(at, 'WIRE', 'GiB on the wire', b => b / Math.pow(2, 30)), bars(at, 'CPU_SRC', 'processor seconds a GiB, source', (s, r) => s / gib(r)), bars(at, 'DOWNTIME', 'downtime, ms', x => x), bars(at, 'CPU_DST', 'processor seconds a GiB, destination', (s, r) => s / gib(r)))];
  }),
  size: rows => [bySize(rows)],
  channels: rows => [bars(rows, 'SECONDS', 'total time, s', x => x), bars(rows, 'CPU_SRC', 'processor seconds a GiB, source', (s, r) => s / gib(r)), bars(rows, 'CPU_DST', 'processor seconds a GiB, destination', (s, r) => s / gib(r))],
  postcopy: rows => ['4 KiB', '2 MiB'].flatMap(p => {
    const of = rows.filter(r => r.name.includes(p));
    return [el('h2', {}, p), bars(of, 'FAULT_MEAN', 'fault latency, mean, µs', x => x), bars(of, 'FAULT_P99', 'fault latency, p99, µs', x => x)];
  }),
  digest: rows => [bars(rows, 'DOWNTIME', 'downtime, ms', x => x), bars(rows, 'SECONDS', 'total time, s', x => x)],
  delta: rows => [bars(rows, 'RESENT', 'bytes on the wire to a byte of pages sent again', x => x)],
};
const TITLES = {whole: 'Whole migrations of a guest at rest', dirty: 'A guest that writes all the time', size: 'Cost against the size of memory', channels: 'Cost against the number of channels', postcopy: 'Postcopy: how long a guest waits for a page',
  digest: 'What the RAM digest costs', delta: 'Pages sent again after small changes'};

function aims() {
  if (!report.aims.length) return null;
  return section('Aims', table(['<aim', '<place', '<of', '<beside', 'got', 'aim: at most', '<'], report.aims.map(a => [a.text, a.place, a.a, a.b,
    `${digits(a.got.median)} ${a.unit} (${digits(a.got.low)} to ${digits(a.got.high)})`, a.most > 0 ? digits(a.most) + ' ' + a.unit : '',
    a.most > 0 ? el('b', {class: a.met ? 'good' : 'bad'}, a.met ? 'met' : `not met, ${digits(a.got.median / a.most)} times that`) : ''])));
}

page('Migrations measured', report.environment.join(' · '), aims(),
  ...[...new Set(report.rows.map(r => r.suite))].map(s => {
    const rows = report.rows.filter(r => r.suite === s);
    return section(TITLES[s] || s, ...PLOTS[s] ? PLOTS[s](rows).filter(x => x) : [], figures(rows));
  }));
