document.querySelectorAll("button.copy").forEach(button => button.addEventListener("click", () => {
  const text = button.parentElement.querySelector("code").textContent;
  navigator.clipboard.writeText(text).then(
    () => { button.textContent = "copied"; },
    () => { getSelection().selectAllChildren(button.parentElement.querySelector("code")); }, // not allowed: select it
  );
}));
const spec = JSON.parse(document.getElementById("spec").textContent);
// The curves come by column; Vega wants a row for each trial and step.
const columns = Object.entries(spec.datasets.curves);
const steps = spec.datasets.curves.step;
spec.datasets.curves = steps.map((_, row) => Object.fromEntries(columns.map(([name, values]) => [name, values[row]])));
// The page's policy forbids what is made of text at run time: Vega interprets its expressions instead.
const options = {renderer: "svg", ast: true, actions: {export: true, source: false, compiled: false, editor: false}};
vegaEmbed("#chart", spec, options)
  .then(({view}) => {
    const panels = [...document.querySelectorAll("aside section")];
    const show = value => {
      const chosen = value && value.cell ? value.cell[0] : null;
      panels.forEach(panel => { panel.hidden = panel.dataset.cell !== String(chosen); });
    };
    view.addSignalListener("cell", (name, value) => show(value));
    show(view.signal("cell"));
    document.body.dataset.ready = "yes";
  })
  .catch(error => { document.getElementById("chart").textContent = "The chart cannot be drawn: " + error; });
