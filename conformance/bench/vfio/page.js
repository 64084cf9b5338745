// SPDX-License-Identifier: MIT
// Draws the downtime scene: a lane for each device of each end, one chart a case.
'use strict';

const MARKS = ['INIT_DATA_SENT', 'ACK', 'REINIT', 'new data, untold'];
const stateNames = [...new Set(report.cases.flatMap(c => (c.lanes || []).flatMap(l => l.states.map(s => s.state))))];
const hueOf = name => hue(stateNames.indexOf(name)) + (dark.matches ? 'd0' : '66');
const deviceName = n => n === 0 ? 'busy' : 'idle ' + n;

function chart(c) {
  const source = c.lanes.filter(l => l.end === 'source'), there = c.lanes.filter(l => l.end === 'destination');
  const begin = Math.min(...source.flatMap(l => l.states.filter(s => s.state === 'pre-copy').map(s => s.at)));
  const end = Math.max(...there.flatMap(l => l.states.map(s => s.at))) + 2e7;
  const percent = t => Math.max(0, Math.min(100, 100 * (t - begin) / (end - begin)));
  const micro = t => micros((t - begin) / 1e3);
  return el('div', {class: 'lanes'}, c.lanes.map(l => {
    const bands = l.states.map((s, i) => {
      const to = i + 1 < l.states.length ? l.states[i + 1].at : end;
      return to < begin ? null : el('div', {class: 'band', title: `${s.state}: ${micros((to - s.at) / 1e3)} from ${micro(s.at)}`,
        style: `left:${percent(s.at)}%;width:${percent(to) - percent(s.at)}%;background:${hueOf(s.state)}`}, s.state);
    });
    const rows = MARKS.flatMap(m => l.events.filter(e => e.event === m));
    const marks = rows.map(e => el('div', {class: 'mark', title: `${e.event} at ${micro(e.at)}`, style: `left:${percent(e.at)}%`}, e.event));
    const name = `${deviceName(l.device)}, ${l.end}`;
    return [marks.length ? el('div', {class: 'lane marks'}, el('div', {class: 'name'}, ''), el('div', {class: 'track'}, marks)) : null,
      el('div', {class: 'lane'}, el('div', {class: 'name', title: name}, name), el('div', {class: 'track'}, bands))];
  }).flat());
}

document.body.append(
  el('h1', {}, 'Downtime of four VFIO devices, one busy'),
  table(['<ends', '<REINIT', 'downtime ms', 'busy ms', 'silent', 'data', 'runs', 'idle ms', 'rounds'], report.cases.map(c =>
    [c.name, c.reinit ? 'with' : 'without', c.downtime_ms?.toFixed(0), ...(c.devices ? [c.devices[0].ms, c.devices[0].quiet_ms,
      c.devices[0].data_ms, c.devices[0].run_ms].map(x => x.toFixed(0)) : ['', '', '', '']),
    c.devices ? c.devices.slice(1).reduce((a, d) => a + d.ms, 0).toFixed(0) : '', c.rounds])),
  ...report.cases.filter(c => c.lanes).map(c =>
    el('section', {}, el('h2', {}, `${c.name}, ${c.reinit ? 'with' : 'without'} REINIT: ${c.downtime_ms.toFixed(0)} ms`), chart(c))));
