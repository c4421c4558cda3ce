"use strict";
(() => {
  const root = document.documentElement;
  const all = (query, within = document) => [...within.querySelectorAll(query)];
  const colors = JSON.parse(document.getElementById("themes").textContent); // {light: {background: "#..", ..}, dark: ..}

  // ---- theme: the system's, or what was chosen here before (page.html sets that before anything is drawn)
  const system = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => root.dataset.printing ? "light" : root.dataset.theme || (system.matches ? "dark" : "light");
  const themeButton = document.getElementById("theme");
  const themed = () => {
    themeButton.setAttribute("aria-pressed", theme() === "dark");
    all(".plot[data-drawn]").forEach(again);
  };
  themeButton.addEventListener("click", () => {
    root.dataset.theme = theme() === "dark" ? "light" : "dark";
    try { localStorage.setItem("supcrd-theme", root.dataset.theme); } catch { /* a browser that keeps nothing */ }
    themed();
  });
  system.addEventListener("change", themed);

  // ---- tables: a tbody is a configuration with its runs, and moves as one; numbers as numbers, gaps last
  all("table.sortable thead button").forEach((button) => button.addEventListener("click", () => {
    const head = button.closest("th"), table = button.closest("table");
    const first = head.dataset.first || "ascending", other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    all("th[aria-sort]", table).forEach((th) => th.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1, at = head.cellIndex;
    const key = (body) => body.rows[0].cells[at].dataset.value;
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * ("text" in head.dataset ? x.localeCompare(y, undefined, { numeric: true }) : x - y);
    };
    [...table.tBodies].sort(compare).forEach((body) => table.append(body));
  }));
  all("button.fold").forEach((button) => button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", open);
    all("tr.seed", button.closest("tbody")).forEach((row) => { row.hidden = !open; });
  }));

  // ---- one run of a section's at a time
  all(".pick select").forEach((select) => {
    const choices = all(".choice", select.closest("section"));
    const show = () => choices.forEach((choice, at) => { choice.hidden = at !== select.selectedIndex; });
    select.addEventListener("change", show);
    show();
  });

  // ---- Plotly: a figure is drawn when it comes near, and given up when it is far, as browsers keep few 3D scenes
  const kept = new Map(); // plot -> {data, layout}, in the colours of the light theme
  const read = (plot) => {
    if (!kept.has(plot)) kept.set(plot, JSON.parse(document.getElementById(plot.dataset.figure).textContent));
    return kept.get(plot);
  };
  const swap = Object.fromEntries(Object.entries(colors.light).map(([key, value]) => [value, colors.dark[key]]));
  const inDark = (value) => { // the same with the light theme's colours replaced
    if (typeof value === "string") return swap[value.toLowerCase()] || value;
    if (Array.isArray(value)) return value.map(inDark);
    if (value && typeof value === "object" && !ArrayBuffer.isView(value)) {
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, key === "bdata" ? inner : inDark(inner)]));
    }
    return value;
  };
  const scenes = (layout) => Object.keys(layout).filter((key) => /^scene\d*$/.test(key));
  const heavy = (figure) => scenes(figure.layout).length > 0 || figure.data.some((trace) => /gl$/.test(trace.type || ""));
  const templates = JSON.parse(document.getElementById("templates").textContent);
  const change = (layout, path, value) => { // "annotations[1].x"
    const keys = path.split(/[.[\]]+/), last = keys.pop();
    keys.reduce((part, key) => (part[key] ??= {}), layout)[last] = value;
  };
  const legendAbove = (layout, data, width) => { // long names beside a diagram would leave it no room
    const names = data.filter((trace) => trace.showlegend !== false && trace.name).map((trace) => trace.name.length);
    const across = Math.max(1, Math.floor((width - 90) / (50 + 7.2 * Math.max(0, ...names))));
    const tall = 24 * Math.ceil(names.length / across) + 10;
    const bar = 30; // Plotly's own buttons
    layout.margin.t += tall + bar - 10;
    layout.height = (layout.height || 450) + tall + bar;
    layout.legend = {
      ...layout.legend, orientation: "h", x: 0, xanchor: "left", yref: "container", y: 1 - bar / layout.height, yanchor: "top",
    };
  };
  let turns = 0;
  const draw = (plot) => {
    const source = read(plot), dark = theme() === "dark";
    const data = structuredClone(dark ? inDark(source.data) : source.data);
    const layout = structuredClone(dark ? inDark(source.layout) : source.layout);
    Object.assign(layout, { template: structuredClone(templates[theme()]), autosize: true });
    layout.margin = { ...layout.margin, t: source.top }; // the title stands in the caption
    if (plot.clientWidth < source.narrow) {
      Object.entries(layout.meta?.narrow || {}).forEach(([path, value]) => change(layout, path, value));
    }
    if (plot.dataset.legend) legendAbove(layout, data, plot.clientWidth);
    plot.dataset.drawn = "";
    const turn = plot.dataset.turn = String(turns += 1); // it may be given back before it stands
    return Plotly.newPlot(plot, data, layout, {
      displaylogo: false, scrollZoom: "gl3d", modeBarButtonsToRemove: ["lasso2d", "select2d"],
    }).then(() => {
      if (plot.dataset.turn !== turn) return;
      plot.style.minHeight = "";
      if (source.script) new Function("Plotly", source.script)(Plotly);
      plot.dataset.drawn = theme();
    });
  };
  const give = (plot) => {
    if (plot.dataset.drawn === undefined) return;
    const source = read(plot); // what was turned or hidden by hand stays so
    scenes(source.layout).forEach((scene) => { source.layout[scene].camera = plot.layout[scene]?.camera; });
    source.data.forEach((trace, at) => { if (plot.data[at]?.visible !== undefined) trace.visible = plot.data[at].visible; });
    plot.style.minHeight = `${plot.offsetHeight}px`; // the page does not jump
    [...plot.parentElement.children].forEach((other) => { if (other !== plot) other.remove(); }); // its script's buttons
    Plotly.purge(plot);
    delete plot.dataset.drawn;
    delete plot.dataset.turn;
  };
  const again = (plot) => { // what is not chosen is drawn when it is
    give(plot);
    if (plot.offsetParent) draw(plot);
  };
  const near = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
    if (isIntersecting && target.dataset.drawn === undefined) draw(target);
    const far = !isIntersecting && target.dataset.drawn !== undefined && !root.dataset.printing;
    if (far && heavy(read(target))) give(target);
  }), { rootMargin: "600px 0px" });
  all(".plot").forEach((plot) => near.observe(plot));
  // not Plotly's `responsive`, which forgets the height, and knows neither legends above nor narrow windows
  let resized;
  addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(() => all(".plot[data-drawn]").forEach((plot) => {
      if (!root.dataset.printing && Math.abs(plot.clientWidth - plot._fullLayout.width) > 1) again(plot);
    }), 150);
  });

  // ---- paper: light, as wide as a page, and small enough to stand on one
  const paper = { width: 700, height: 800 }; // CSS pixels of A4 or Letter, room left for words
  addEventListener("beforeprint", () => {
    root.dataset.printing = "yes";
    all("details:not([open])").forEach((part) => { part.open = true; part.dataset.opened = ""; });
    all(".plot").filter((plot) => plot.offsetParent).forEach((plot) => {
      const zoom = Math.min(.7, Math.max(.36, paper.height / (read(plot).layout.height + 60)));
      plot.style.setProperty("--zoom", zoom);
      give(plot);
      plot.style.width = `${Math.floor(paper.width / zoom)}px`;
      draw(plot);
    });
  });
  addEventListener("afterprint", () => {
    delete root.dataset.printing;
    all("details[data-opened]").forEach((part) => { part.open = false; delete part.dataset.opened; });
    all(".plot[data-drawn]").forEach((plot) => {
      give(plot);
      plot.style.width = "";
      near.unobserve(plot); // and drawn again where it is seen
      near.observe(plot);
    });
  });

  // ---- downloads: of Plotly its own, of drawings the SVG with the theme's colours written out
  const offer = (url, name) => {
    const link = Object.assign(document.createElement("a"), { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
  };
  const written = (svg) => {
    const copy = svg.cloneNode(true);
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.removeAttribute("class");
    const text = new XMLSerializer().serializeToString(copy);
    return text.replace(/var\(--(\w+)\)/g, (whole, name) => colors[theme()][name] || whole);
  };
  const url = (text) => `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  const save = async (figure, format) => {
    const name = figure.dataset.name, plot = figure.querySelector(".plot"), svg = figure.querySelector("svg.drawn");
    if (plot) {
      if (plot.dataset.drawn === undefined) await draw(plot);
      const { title, layout } = read(plot); // on its own a figure needs its title again
      const whole = { data: plot.data, layout: { ...plot.layout, title, margin: { ...plot.layout.margin, t: layout.margin.t } } };
      const size = { width: plot.clientWidth, height: plot.clientHeight };
      offer(await Plotly.toImage(whole, { format, scale: format === "png" ? 3 : 1, ...size }), `${name}.${format}`);
      return;
    }
    const text = written(svg);
    if (format === "svg") { offer(url(text), `${name}.svg`); return; }
    const image = new Image(), box = svg.viewBox.baseVal, scale = 300 / 72; // a point is 1/72 inch: 300 dots an inch
    image.src = url(text);
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: box.width * scale, height: box.height * scale });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    offer(canvas.toDataURL("image/png"), `${name}.png`);
  };
  all("button[data-save]").forEach((button) => button.addEventListener("click", () => save(button.closest("figure"), button.dataset.save)));

  // ---- a page that is being redrawn: come back to the same place
  if (root.dataset.watch) {
    const place = sessionStorage.getItem("supcrd-scroll");
    if (place !== null) scrollTo({ top: +place, behavior: "instant" });
    setTimeout(() => {
      sessionStorage.setItem("supcrd-scroll", scrollY);
      location.reload();
    }, 1000 * root.dataset.watch);
  }
  themed();
})();
