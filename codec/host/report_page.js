// SPDX-License-Identifier: MIT
// What every page needs: elements, tables, plots in the reader's light or dark. Text goes in as
// text, never as markup: names come out of guests.
'use strict';

const report = JSON.parse(document.getElementById('document').textContent);
const dark = matchMedia('(prefers-color-scheme: dark)');

function el(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
  for (const c of children.flat()) if (c !== null && c !== undefined) e.append(c);
  return e;
}

// ---- numbers ----

function digits(x) {
  const a = Math.abs(x);
  return x.toFixed(a === 0 || a >= 100 ? 0 : a >= 10 ? 1 : 2);
}
function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  for (; Math.abs(n) >= 1024 && i < 4; i++) n /= 1024;
  return (i ? digits(n) : String(n)) + ' ' + units[i];
}
function micros(us) {
  if (us < 1000) return digits(us) + ' µs';
  if (us < 1e6) return digits(us / 1e3) + ' ms';
  return digits(us / 1e6) + ' s';
}
function count(n) { return n.toLocaleString('en'); }

// ---- tables: columns are names; one that begins with '<' is text ----

function table(columns, rows) {
  const text = columns.map(c => c[0] === '<');
  const cell = (v, i) => el('td', text[i] ? {class: 'text'} : {}, v instanceof Node ? v : String(v ?? ''));
  return el('div', {class: 'scroll'}, el('table', {},
    el('thead', {}, el('tr', {}, columns.map((c, i) =>
      el('th', text[i] ? {class: 'text'} : {}, text[i] ? c.slice(1) : c)))),
    el('tbody', {}, rows.map(r => el('tr', {}, r.map(cell))))));
}
function section(title, ...children) {
  return el('section', {}, title ? el('h2', {}, title) : null, ...children);
}
function folded(title, ...children) {
  return el('section', {}, el('details', {}, el('summary', {}, title), ...children));
}
function tiles(list) {
  return el('div', {class: 'tiles'}, list.filter(t => t).map(([name, value, kind]) =>
    el('div', {class: 'tile'}, el('b', kind ? {class: kind} : {}, value), el('span', {}, name))));
}

// ---- plots ----

// Hues that stay apart for colour-blind readers, for light and for dark ground.
const HUES = [['#2a6fc9', '#5b9df0'], ['#d2691e', '#f0965a'], ['#12805c', '#45c08f'],
  ['#a13d9c', '#d27fcf'], ['#8a7400', '#d1b63c'], ['#c2334d', '#f27e92'], ['#4a5a9a', '#98a6e6'],
  ['#3b8c99', '#62bfcc']];
function hue(i) { return HUES[i % HUES.length][dark.matches ? 1 : 0]; }
function css(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

const plots = []; // functions that draw anew
function redraw() { plots.forEach(f => f()); }
dark.addEventListener('change', redraw);

// One plot. make() returns a Chart.js configuration; called again when something has changed.
function plot(make, tall) {
  const canvas = el('canvas', {});
  const box = el('div', {class: tall ? 'plot tall' : 'plot'}, canvas);
  let chart = null;
  if (typeof Chart === 'undefined')
    return el('p', {class: 'caption'}, 'No plot: the program was built without Chart.js.');
  plots.push(() => {
    if (chart) chart.destroy();
    Chart.defaults.color = css('--soft');
    Chart.defaults.borderColor = css('--line');
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 11;
    Chart.defaults.animation = false;
    Chart.defaults.maintainAspectRatio = false;
    chart = new Chart(canvas, make());
  });
  return box;
}
// A step between ticks that is round in bytes.
function binaryStep(top) { return Math.pow(2, Math.ceil(Math.log2(Math.max(top, 1) / 6))); }

function page(title, under, ...children) {
  document.title = title;
  document.body.append(el('h1', {}, title), el('p', {class: 'under'}, under), ...children.filter(c => c));
  redraw();
}
