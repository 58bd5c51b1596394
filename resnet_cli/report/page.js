"use strict";
// Draws each figure's panels in the page's own colours, and again when these change. If anything fails, the static
// figure, which stands there from the start, stays.
(() => {
  const INK = "#000000"; // interactive.py's
  const FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'Liberation Sans', sans-serif";
  // A finger that moves over a plot scrolls the page; to zoom, the buttons above the plot are always there.
  const touched = matchMedia("(pointer: coarse)").matches;
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: touched ? true : "hover",
    // Named one by one: among the library's own is one that sends the data to its makers.
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
    showSendToCloud: false,
    plotlyServerURL: "",
  };

  const template = (colour) => {
    const axis = {
      gridcolor: colour("rule"),
      linecolor: colour("soft"),
      zerolinecolor: colour("rule"),
      ticks: "outside",
      tickcolor: colour("soft"),
      showline: true,
      title: { standoff: 8, font: { size: 13 } },
      automargin: true,
    };
    return {
      layout: {
        font: { family: FONT, size: 13, color: colour("text") },
        paper_bgcolor: colour("paper"),
        plot_bgcolor: colour("paper"),
        xaxis: { ...axis, showgrid: false },
        yaxis: axis,
        hoverlabel: { bgcolor: colour("surface"), font: { family: FONT, color: colour("text") }, align: "left" },
        modebar: { bgcolor: colour("paper"), color: colour("soft"), activecolor: colour("text") },
        dragmode: touched ? false : "zoom",
      },
    };
  };

  const draw = async (figure) => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    figure.classList.add("drawn"); // before drawing: a plot takes the width of a place that is shown
    try {
      for (const place of figure.querySelectorAll(".plot")) {
        const { data, layout } = JSON.parse(place.nextElementSibling.textContent.replaceAll(INK, colour("text")));
        await Plotly.react(place, data, { ...layout, template: template(colour) }, config);
      }
    } catch (error) {
      figure.classList.remove("drawn");
      console.error(error);
    }
  };

  // After a tap browsers send a mouse's events too, and at these a plot would take its answer away again.
  const endTap = (event) => {
    if (event.cancelable && event.target.closest(".nsewdrag")) event.preventDefault();
  };
  document.querySelectorAll(".plot").forEach((place) => place.addEventListener("touchend", endTap));

  const drawAll = () => document.querySelectorAll("figure.panels").forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  drawAll();
})();
