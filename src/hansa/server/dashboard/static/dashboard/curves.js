// Learning curves that answer the pointer: uPlot draws them over the picture that the server drew, which stays for who
// listens. The numbers come from the address that "CSV" and "JSON" lead to as well. Without this script the picture is
// there, and stands still.
(() => {
  "use strict";
  if (!window.uPlot) return;
  const drawn = new Map(); // the curve's name → { plot, figure }
  const name = (kind, metric) => `${kind} ${metric}`;
  const number = (value) => (value == null ? "–" : Number(value.toPrecision(4)).toString());

  // Colours are the style sheet's: a canvas knows no variables.
  const ink = (figure, of) => getComputedStyle(figure.querySelector(`.ink-${of}`)).color;
  const clear = (colour, share) => {
    const [red, green, blue] = colour.match(/[\d.]+/g);
    return `rgba(${red}, ${green}, ${blue}, ${share})`;
  };

  const columns = (curve) =>
    [curve.round, curve.mean, curve.minimum, curve.maximum].concat(curve.client ? [curve.value] : []);

  const options = (figure, curve) => {
    const mean = ink(figure, "mean"), own = ink(figure, "own"), quiet = ink(figure, "quiet"), line = ink(figure, "line");
    const axis = { stroke: quiet, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    const edge = { stroke: clear(mean, 0.35), width: 1, points: { show: false }, value: (_, value) => number(value) };
    const client = {
      label: curve.client, stroke: own, width: 1.6, dash: [5, 3], spanGaps: true,
      points: { show: curve.round.length < 40, size: 4 }, value: (_, value) => number(value),
    };
    return {
      width: figure.querySelector(".plot").clientWidth,
      height: 240,
      cursor: { points: { size: 6 } },
      scales: { x: { time: false } },
      axes: [
        { ...axis, grid: { show: false }, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] },
        { ...axis, size: 56, values: (_, ticks) => ticks.map(number) },
      ],
      series: [
        { label: "round" },
        { label: "mean", stroke: mean, width: 2.2, points: { show: curve.round.length < 3 }, value: (_, value) => number(value) },
        { label: "least", ...edge },
        { label: "most", ...edge },
        ...(curve.client ? [client] : []),
      ],
      bands: [{ series: [3, 2], fill: clear(mean, 0.14) }],
    };
  };

  const draw = (figure, curve) => {
    const place = figure.querySelector(".plot");
    place.replaceChildren();
    place.hidden = false;
    const plot = new uPlot(options(figure, curve), columns(curve), place);
    figure.classList.add("drawn");
    drawn.set(name(curve.kind, curve.metric), { plot, figure, curve });
  };

  const refresh = async () => {
    const part = document.getElementById("part-curves");
    if (!part || !part.dataset.source) return;
    const asked = { headers: { Accept: "application/json", "X-Requested-With": "fetch" } };
    const answer = await fetch(part.dataset.source, asked).catch(() => ({ ok: false, status: 0 }));
    if (!answer.ok) return void document.dispatchEvent(new CustomEvent("hansa:refused", { detail: answer.status }));
    const { curves } = await answer.json();
    const figures = new Map([...part.querySelectorAll("figure[data-metric]")].map((each) => [name(each.dataset.kind, each.dataset.metric), each]));
    if (curves.length !== figures.size) return void htmx.trigger(part, "redraw"); // there are others now
    for (const curve of curves) {
      const figure = figures.get(name(curve.kind, curve.metric));
      if (!figure) return void htmx.trigger(part, "redraw");
      const known = drawn.get(name(curve.kind, curve.metric));
      if (known && known.figure === figure) {
        known.curve = curve;
        known.plot.setData(columns(curve));
      } else draw(figure, curve);
      figure.querySelector(".now").textContent = curve.now;
      figure.querySelector("svg").setAttribute("aria-label", curve.summary);
    }
  };

  // The part is fetched as a whole only where it has other curves than before.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const part = event.target;
    if (part.id !== "part-curves" || !drawn.size || event.detail.requestConfig.triggeringEvent?.type === "redraw") return;
    event.preventDefault();
    refresh();
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.id === "part-curves") { drawn.clear(); refresh(); }
  });
  addEventListener("resize", () => drawn.forEach(({ plot, figure }) => plot.setSize({ width: figure.querySelector(".plot").clientWidth, height: 240 })));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(({ figure, curve }) => draw(figure, curve)));
  document.addEventListener("DOMContentLoaded", refresh);
})();
