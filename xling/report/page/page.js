"use strict";

// Tables: a button in each heading sorts by its column; a second press turns it round, a third gives the first order back.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], first = [...body.rows], headings = [...table.tHead.rows[0].cells];
  if (first.length < 2) continue;
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" }[heading.getAttribute("aria-sort")];
      for (const other of headings) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", next);
      body.append(...(next === "none" ? first : sorted(first, column, heading.classList.contains("number"), next)));
    });
  });
}

function sorted(rows, column, numeric, direction) {
  const sign = direction === "ascending" ? 1 : -1;
  const keys = new Map(rows.map(row => [row, key(row.cells[column].textContent.trim(), numeric)]));
  return [...rows].sort((one, other) => {
    const [a, b] = [keys.get(one), keys.get(other)];
    if (a === null || b === null) return (a === null) - (b === null); // what is not known stays last
    return sign * (numeric ? a - b : natural(a, b));
  });
}

// Words before numbers (the start before every alpha), and numbers within texts by their value: a0.25 before a0.5.
function natural(one, other) {
  const [a, b] = [one, other].map(text => text.split(/(\d+(?:,\d{3}(?!\d))*(?:\.\d+(?![\d.]))?)/)); // numbers at odd places
  if ((a[0] === "") !== (b[0] === "")) return (a[0] === "") - (b[0] === "");
  for (let at = 0; at < Math.min(a.length, b.length); at++) {
    const apart = at % 2 ? a[at].replaceAll(",", "") - b[at].replaceAll(",", "") : a[at].localeCompare(b[at]);
    if (apart) return apart;
  }
  return a.length - b.length;
}

function key(text, numeric) {
  if (text === "" || text === "–") return null;
  if (!numeric) return text;
  const value = parseFloat(text.replace(/^[<>≤≥~]/, "").replace("−", "-").replaceAll(",", ""));
  return Number.isNaN(value) ? null : value;
}

// Pair matrices: A, B, or A - B.
for (const map of document.querySelectorAll(".map")) {
  const data = JSON.parse(map.querySelector("script").textContent);
  const [a, b, view] = ["a", "b", "view"].map(name => map.querySelector(`select.${name}`));
  const cells = [...map.querySelectorAll("tbody tr")].map(row => [...row.querySelectorAll("td")]);
  const shown = map.querySelector(".shown");
  const text = (value, sign) => value === null ? "–"
    : (sign && value > 0 ? "+" : "") + rounded(value, data.digits).replace(/^(-?)0\./, "$1.");

  const draw = () => {
    const difference = view.value === "d", [A, B] = [data.values[a.value], data.values[b.value]];
    const values = difference ? A.map((row, i) => row.map((v, j) => v === null || B[i][j] === null ? null : v - B[i][j]))
      : view.value === "a" ? A : B;
    const [low, high] = difference ? [-data.span, data.span] : [data.low, data.high];
    const colours = data.palettes[difference ? "difference" : "value"], last = colours.length - 1;
    const palette = data.less ? [...colours].reverse() : colours;
    cells.forEach((row, i) => row.forEach((cell, j) => {
      const value = values[i][j];
      cell.textContent = text(value, difference);
      const share = high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : .5;
      cell.style.background = value === null ? "" : palette[Math.round(share * last)];
      cell.style.color = value === null ? "" : ink(palette[Math.round(share * last)]);
    }));
    map.querySelector(".low").textContent = text(low, difference);
    map.querySelector(".high").textContent = text(high, difference);
    map.querySelector(".bar").style.background = `linear-gradient(to right,${palette.join(",")})`;
    const name = select => select.selectedOptions[0].textContent;
    const what = difference ? `${name(a)} − ${name(b)}` : name(view.value === "a" ? a : b);
    shown.textContent = `${data.measure} of ${what}: ${means(values, difference)}`;
  };

  const means = (values, sign) => {
    const known = values.flatMap((row, i) => row.map((value, j) => [value, i === j])).filter(([value]) => value !== null);
    const mean = own => {
      const of = known.filter(([, same]) => same === own).map(([value]) => value);
      return of.length ? text(of.reduce((sum, value) => sum + value, 0) / of.length, sign) : "–";
    };
    return `mean ${mean(true)} within a language, ${mean(false)} across`;
  };

  for (const select of [a, b, view]) select.addEventListener("change", draw);
  map.querySelector(".controls").hidden = false;
  draw();
}

// As Python rounds, which writes the other tables: of two that are equally near the even one. toFixed takes the larger.
function rounded(value, digits) {
  const text = value.toFixed(digits), half = Math.abs(value * 2 ** (digits + 1)) % 2 === 1; // such doubles are binary too
  return half && text.at(-1) % 2 ? (value * (1 - Number.EPSILON)).toFixed(digits) : text;
}

function ink(colour) { // black or white, by WCAG's relative luminance
  const [r, g, b] = [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16) / 255)
    .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b > .179 ? "#000" : "#fff";
}
