// Sorts a table by the heading that is clicked: rising, falling, and as the page had it. All of it works on text nodes.
"use strict";
(function () {
  const NUMBER = /^(?:at least |[~<≤≥±] ?)?([-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?)([KMBT]\b)?/;
  const SIZES = { K: 1e3, M: 1e6, B: 1e9, T: 1e12 };
  const NEXT = { ascending: "descending", descending: "" };
  const words = new Intl.Collator("en", { numeric: true });

  // The number that a cell begins with, or the centre of an interval alone; NaN for neither.
  function number(text) {
    if (text.startsWith("[")) {
      const [low, high] = text.slice(1, -1).split(", ").map(number);
      return (low + high) / 2;
    }
    if (text.startsWith("below ")) {
      return -Infinity;
    }
    const found = NUMBER.exec(text);
    const size = found ? Number(found[1].replaceAll(",", "")) * (SIZES[found[2]] || 1) : NaN;
    return text.endsWith(" fewer") ? -size : size;
  }

  function texts(rows, place) {
    return rows.map((row) => row.cells[place].textContent.trim());
  }

  // The key of each row, null for cells without a value.
  function keys(rows, place, heading) {
    const column = texts(rows, place);
    const isNumeric =
      heading.classList.contains("number") || column.every((text) => /^([\d,.]+|-|below .*)?$/.test(text));
    return column.map((text) => {
      const key = isNumeric ? number(text) : text;
      return Number.isNaN(key) || key === "" || key === "-" ? null : key;
    });
  }

  function compared(one, other) {
    return typeof one === "number" ? Math.sign(one - other) || 0 : words.compare(one, other);
  }

  // Rows without a value come last in either direction, and rows that are equal keep their order.
  function sorted(rows, place, heading, direction) {
    const key = new Map(keys(rows, place, heading).map((value, at) => [rows[at], value]));
    return [...rows].sort((one, other) => {
      const [left, right] = [key.get(one), key.get(other)];
      if (left === null || right === null) {
        return (left === null) - (right === null);
      }
      return direction === "ascending" ? compared(left, right) : compared(right, left);
    });
  }

  for (const table of document.querySelectorAll(".wide > table")) {
    const body = table.tBodies[0];
    const given = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    for (const [place, heading] of headings.entries()) {
      if (given.length < 2 || !heading.textContent) {
        continue;
      }
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      button.addEventListener("click", () => {
        const before = heading.getAttribute("aria-sort");
        const direction = before === null ? "ascending" : NEXT[before];
        headings.forEach((one) => one.removeAttribute("aria-sort"));
        if (direction) {
          heading.setAttribute("aria-sort", direction);
        }
        body.append(...(direction ? sorted([...body.rows], place, heading, direction) : given));
      });
      heading.replaceChildren(button);
    }
  }
})();
