
"use strict";
// Without this script the tables are as they are; with it a click on a head sorts by that column.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.classList.contains("text") ? head.ariaSort === "ascending" : head.ariaSort !== "descending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[head.cellIndex].dataset.value ?? row.cells[head.cellIndex].textContent.trim();
      const order = (a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === ""); // what is not known comes last either way
        const both = head.classList.contains("text") ? x.localeCompare(y, "en", { numeric: true }) : x - y;
        return down ? -both : both;
      };
      body.append(...[...body.rows].sort(order));
    });
  }
}
