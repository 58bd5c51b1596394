"use strict";
// Draws each figure's panels in the page's colours, and redraws them when the colours change. If anything fails, the
// static figure, which is there from the start, stays.
(() => {
  const INK = "#000000"; // as in interactive.py
  const FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'Liberation Sans', sans-serif";
  // On a touch screen dragging scrolls the page, so the zoom buttons above the plot are always visible.
  const touched = matchMedia("(pointer: coarse)").matches;
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: touched ? true : "hover",
    // Listed one by one: the library's default buttons include one that sends the data to its makers.
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
    figure.classList.add("drawn"); // before drawing: a plot takes the width of its visible element
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

  // After a tap browsers also send mouse events, which would make the plot hide its hover label again.
  const endTap = (event) => {
    if (event.cancelable && event.target.closest(".nsewdrag")) event.preventDefault();
  };
  document.querySelectorAll(".plot").forEach((place) => place.addEventListener("touchend", endTap));

  const drawAll = () => document.querySelectorAll("figure.panels").forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  drawAll();
})();
