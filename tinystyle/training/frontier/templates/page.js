// Sliders of the gallery and sorting of the tables. The page is readable without them.
"use strict";

for (const slider of document.querySelectorAll(".compare input")) {
  const show = () => {
    slider.parentElement.style.setProperty("--at", slider.value + "%");
    slider.setAttribute("aria-valuetext", slider.value + "% photo");
  };
  slider.addEventListener("input", show);
  show();
}

// Compare two rows by number; rows without a number come last in either direction.
function compareRows(one, other, column, sign) {
  const [a, b] = [one, other].map((row) => row.cells[column]?.dataset.value ?? "");
  if (a === "" || b === "") {
    return (a === "") - (b === "");
  }
  return sign * (Number(a) - Number(b));
}

for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((one, other) => compareRows(one, other, column, sign));
      table.tBodies[0].append(...rows);
    });
  });
}
