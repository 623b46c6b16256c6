// Draws one panel into an element: text, SVG and a legend. Knows nothing of Prometheus; `page.js` fetches the series.

const SVG = "http://www.w3.org/2000/svg"
const HEIGHT = 180
const PALETTE = 8
const CHAR = 6.4 // width of a character of an axis, in pixels

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children)
  return made
}

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

const digits = (value, decimals) =>
  value.toLocaleString("en", {minimumFractionDigits: 0, maximumFractionDigits: decimals})

// At most three significant digits, unless the panel sets the decimals.
function plain(value, decimals) {
  const size = Math.abs(value)
  return digits(value, decimals ?? (size >= 100 || size === 0 ? 0 : Math.min(6, 2 - Math.floor(Math.log10(size)))))
}

function scaled(value, base, names, decimals) {
  let power = 0
  while (Math.abs(value) >= base && power < names.length - 1) { value /= base; power += 1 }
  return plain(value, decimals) + names[power]
}

function duration(value, decimals) {
  const size = Math.abs(value)
  if (size === 0) return "0 s"
  if (size < 1e-3) return plain(value * 1e6, decimals) + " µs"
  if (size < 1) return plain(value * 1e3, decimals) + " ms"
  if (size < 60) return plain(value, decimals) + " s"
  if (size < 3600) return plain(value / 60, decimals) + " min"
  if (size < 86400) return plain(value / 3600, decimals) + " h"
  return plain(value / 86400, decimals) + " d"
}

function longDuration(value) {
  if (value < 60) return Math.round(value) + " s"
  const minutes = Math.round(value / 60)
  if (minutes < 60) return minutes + " min"
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return hours + " h" + (minutes % 60 ? ` ${minutes % 60} min` : "")
  return Math.floor(hours / 24) + " d" + (hours % 24 ? ` ${hours % 24} h` : "")
}

// Units as Grafana names them.
const UNITS = {
  short: (value, decimals) => scaled(value, 1000, ["", " K", " M", " G"], decimals),
  percentunit: (value, decimals) => plain(value * 100, decimals) + " %",
  s: duration,
  dtdurations: longDuration,
  bytes: (value, decimals) => scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"], decimals),
  Bps: (value, decimals) => scaled(value, 1000, [" B/s", " kB/s", " MB/s", " GB/s"], decimals),
  reqps: (value, decimals) => scaled(value, 1000, ["/s", " K/s", " M/s"], decimals),
  ops: (value, decimals) => scaled(value, 1000, ["/s", " K/s", " M/s"], decimals),
}

export const format = (panel, value) => (UNITS[panel.unit] ?? UNITS.short)(value, panel.decimals ?? undefined)

function toneOf(panel, value) {
  const mapped = panel.texts[String(value)]
  if (mapped) return mapped.color
  let color = panel.thresholds[0].color
  for (const step of panel.thresholds) if (step.value !== null && value >= step.value) color = step.color
  return color
}

const textOf = (panel, value) => panel.texts[String(value)]?.text ?? format(panel, value)
const colorOf = (series, index) => series.color ? `var(--${series.color})` : `var(--c${index % PALETTE})`
const lastOf = points => points.findLast(value => value !== null) ?? null

// Round distances of ticks, by unit: of bytes in powers of 1024, of durations in minutes and hours.
function tickStep(panel, top) {
  const wanted = top / 4
  if (panel.unit === "s" || panel.unit === "dtdurations") {
    const round = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800]
    if (wanted > 10) return round.find(step => step >= wanted) ?? Math.ceil(wanted / 86400) * 86400
  }
  if (panel.unit === "bytes") return 2 ** Math.ceil(Math.log2(wanted) - 0.01)
  const power = 10 ** Math.floor(Math.log10(wanted))
  return power * [1, 2, 5, 10].find(factor => factor * power >= wanted * 0.999)
}

function scaleOf(panel, highest) {
  const limits = panel.limits ? panel.thresholds.map(step => step.value ?? 0) : []
  // A limit far above the data would flatten it.
  const near = limits.filter(limit => limit <= highest * 4 || highest === 0)
  const wanted = panel.max ?? (Math.max(highest, ...near) * 1.05 || 1)
  const step = tickStep(panel, wanted)
  const top = panel.max ?? Math.ceil(wanted / step - 1e-9) * step
  const ticks = []
  for (let tick = 0; tick <= top * 1.0001; tick += step) ticks.push(tick)
  return {top, ticks}
}

const clock = seconds => new Date(seconds * 1000).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit", hourCycle: "h23"})

function frame(data, width, left, height) {
  const count = data.series[0].points.length
  const x = index => left + (width - left - 8) * (count > 1 ? index / (count - 1) : 0)
  return {count, x, bottom: height - 18}
}

function timeAxis(drawing, data, place, width) {
  const span = (place.count - 1) * data.step
  const step = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400, 259200]
    .find(each => span / each <= Math.max(2, width / 75)) ?? 259200
  const zone = new Date(data.start * 1000).getTimezoneOffset() * 60
  for (let at = Math.ceil((data.start - zone) / step) * step + zone; at <= data.start + span; at += step) {
    const x = place.x((at - data.start) / data.step)
    if (x > width - 16) continue
    drawing.append(svg("text", {x, y: place.bottom + 14, "text-anchor": "middle"}, clock(at)))
  }
}

function stackedOf(series) {
  const below = series[0].points.map(() => 0)
  return series.map(each => each.points.map((value, index) => {
    const bottom = below[index]
    if (value !== null) below[index] += value
    return value === null ? null : [bottom, below[index]]
  }))
}

function pathOf(band, x, y, isArea) {
  const runs = []
  band.forEach((value, index) => {
    if (value === null) return
    if (index === 0 || band[index - 1] === null) runs.push([])
    runs.at(-1).push([x(index), y(value[1]), y(value[0])])
  })
  const point = (at, level) => `${at.toFixed(1)},${level.toFixed(1)}`
  return runs.map(run => {
    const alone = run.length === 1 ? [[run[0][0] + 1.5, run[0][1], run[0][2]]] : []
    const points = [...run, ...alone]
    const line = "M" + points.map(each => point(each[0], each[1])).join("L")
    return isArea ? line + "L" + points.toReversed().map(each => point(each[0], each[2])).join("L") + "Z" : line
  }).join("")
}

function drawLines(panel, data, drawing, bands, place, y) {
  bands.forEach((band, index) => {
    const color = colorOf(data.series[index], index)
    if (panel.bars) {
      const wide = Math.max(1, place.x(1) - place.x(0) - 0.5)
      band.forEach((value, at) => {
        if (value === null || value[0] === value[1]) return
        drawing.append(svg("rect", {x: place.x(at) - wide / 2, y: y(value[1]), width: wide, height: y(value[0]) - y(value[1]), fill: color}))
      })
      return
    }
    drawing.append(svg("path", {d: pathOf(band, place.x, y, true), fill: color, opacity: panel.stacked ? 0.3 : 0.07}))
    drawing.append(svg("path", {d: pathOf(band, place.x, y, false), fill: "none", stroke: color, "stroke-width": 1.6, "stroke-linejoin": "round"}))
  })
}

function drawLimits(panel, drawing, scale, left, width, y) {
  if (!panel.limits) return
  for (const step of panel.thresholds.filter(each => each.value !== null && each.value <= scale.top)) {
    drawing.append(svg("line", {x1: left, x2: width - 8, y1: y(step.value), y2: y(step.value), stroke: `var(--${step.color})`, "stroke-dasharray": "5 4"}))
  }
}

function legend(panel, data) {
  const items = data.series.map((series, index) => {
    const last = lastOf(series.points)
    const swatch = element("span", {className: "swatch"})
    swatch.style.background = colorOf(series, index)
    return element("li", {}, swatch, series.name, element("span", {className: "quiet"}, last === null ? "" : "  " + format(panel, last)))
  })
  return element("ul", {className: "legend"}, ...items)
}

function drawTimeseries(panel, data, figure, tip) {
  const width = Math.max(200, figure.clientWidth)
  const bands = panel.stacked ? stackedOf(data.series) : data.series.map(each => each.points.map(value => value === null ? null : [0, value]))
  const scale = scaleOf(panel, Math.max(0, ...bands.flat().map(value => value?.[1] ?? 0)))
  const labels = scale.ticks.map(tick => format({...panel, decimals: undefined}, tick))
  const left = Math.max(...labels.map(label => label.length)) * CHAR + 10
  const place = frame(data, width, left, HEIGHT)
  const y = value => place.bottom - (place.bottom - 8) * Math.min(value, scale.top) / scale.top
  const said = data.series.map(each => `${each.name} ${lastOf(each.points) === null ? "" : format(panel, lastOf(each.points))}`).join(", ")
  const drawing = svg("svg", {height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `${panel.title}: ${said}`})
  scale.ticks.forEach((tick, index) => {
    drawing.append(svg("line", {x1: left, x2: width - 8, y1: y(tick), y2: y(tick), stroke: "var(--line)"}))
    drawing.append(svg("text", {x: left - 6, y: y(tick) + 4, "text-anchor": "end"}, labels[index]))
  })
  timeAxis(drawing, data, place, width)
  drawLines(panel, data, drawing, bands, place, y)
  drawLimits(panel, drawing, scale, left, width, y)
  const entries = index => data.series.map((series, at) => [series.points[index], series.name, colorOf(series, at)])
    .filter(each => each[0] !== null).sort((one, other) => other[0] - one[0]).slice(0, 12)
    .map(([value, name, color]) => [name, format(panel, value), color])
  tip.watch(drawing, data, place, entries)
  figure.replaceChildren(drawing, legend(panel, data))
}

function drawStates(panel, data, figure, tip) {
  const width = Math.max(200, figure.clientWidth)
  const rowHeight = Math.max(16, Math.min(26, 150 / data.series.length))
  const height = rowHeight * data.series.length + 22
  const left = Math.min(width / 2.5, Math.max(...data.series.map(each => each.name.length)) * CHAR + 10)
  const place = frame(data, width, left, height)
  const drawing = svg("svg", {height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": panel.title})
  data.series.forEach((series, row) => {
    drawing.append(svg("text", {x: left - 6, y: row * rowHeight + rowHeight / 2 + 4, "text-anchor": "end"}, series.name))
    for (let from = 0, to = 0; from < place.count; from = to) {
      while (to < place.count && series.points[to] === series.points[from]) to += 1
      if (series.points[from] === null) continue
      const right = Math.min(width - 8, place.x(to))
      drawing.append(svg("rect", {x: place.x(from), y: row * rowHeight + 2, width: Math.max(1.5, right - place.x(from)), height: rowHeight - 4, rx: 2, fill: `var(--${toneOf(panel, series.points[from])})`, opacity: 0.8}))
    }
  })
  timeAxis(drawing, data, place, width)
  const entries = index => data.series.filter(each => each.points[index] !== null)
    .map(each => [each.name, textOf(panel, each.points[index]), `var(--${toneOf(panel, each.points[index])})`])
  tip.watch(drawing, data, place, entries)
  const states = Object.values(panel.texts).map(each => {
    const swatch = element("span", {className: "swatch"})
    swatch.style.background = `var(--${each.color})`
    return element("li", {}, swatch, each.text)
  })
  figure.replaceChildren(drawing, element("ul", {className: "legend"}, ...states))
}

function drawGauges(panel, data, figure) {
  const rows = data.series.filter(each => each.points[0] !== null).sort((one, other) => other.points[0] - one.points[0])
  const top = Math.max(panel.max ?? 0, ...rows.map(each => each.points[0]), panel.unit === "percentunit" ? 1 : 0) || 1
  figure.replaceChildren(element("div", {className: "gauges"}, ...rows.map(each => {
    const bar = element("i")
    bar.style.background = `var(--${toneOf(panel, each.points[0])})`
    bar.style.width = `${100 * each.points[0] / top}%`
    return element("div", {}, element("span", {}, each.name), element("u", {}, bar), element("b", {}, format(panel, each.points[0])))
  })))
}

function drawStat(panel, data, figure) {
  const value = data.series[0]?.points[0] ?? null
  if (value === null) figure.parentElement.style.removeProperty("--tone")
  else figure.parentElement.style.setProperty("--tone", `var(--${toneOf(panel, value)})`)
  figure.replaceChildren(element("p", {className: value === null ? "value quiet" : "value"}, value === null ? panel.empty : textOf(panel, value)))
}

// Draw the panel's series into `figure`; `tip` shows the values under the pointer.
export function draw(panel, data, figure, tip) {
  if (panel.kind === "stat") return drawStat(panel, data, figure)
  if (!data.series.some(each => each.points.some(value => value !== null))) {
    return figure.replaceChildren(element("p", {className: "empty"}, panel.empty))
  }
  if (panel.kind === "bargauge") return drawGauges(panel, data, figure)
  return (panel.kind === "state-timeline" ? drawStates : drawTimeseries)(panel, data, figure, tip)
}
