"use strict";

// Heads of tables become buttons that sort. The page can be read without this script: it only adds to it.

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

function keyOf(cell, isNumber) {
  if (isNumber) return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  const text = (cell.querySelector(".text") ?? cell).textContent.trim();
  return text === "" || text === "–" ? null : text;
}

// Rows without a value stay last in both directions; Array.sort is stable, so equal rows keep their order.
function sortRows(table, column, isNumber, descending) {
  const body = table.tBodies[0];
  const keyed = Array.from(body.rows, (row) => ({ row, key: keyOf(row.cells[column], isNumber) }));
  const sign = descending ? -1 : 1;
  keyed.sort((one, other) => {
    if (one.key === null || other.key === null) return (one.key === null) - (other.key === null);
    return sign * (isNumber ? one.key - other.key : collator.compare(one.key, other.key));
  });
  body.append(...keyed.map(({ row }) => row));
}

function makeSortable(table) {
  const heads = Array.from(table.tHead.rows[0].cells);
  if (table.tBodies[0].rows.length < 2) return;
  heads.forEach((head, column) => {
    const isNumber = head.classList.contains("number");
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      // The first click shows the greatest number on top, but texts from A on.
      const descending = before === null ? isNumber : before === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortRows(table, column, isNumber, descending);
    });
  });
}

// A box that hides a part of its table can be reached and scrolled with the keyboard.
function watchOverflow(boxes) {
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const overflows = target.scrollWidth > target.clientWidth;
      const caption = target.querySelector("caption");
      if (overflows) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
      if (caption === null) continue;
      if (overflows) {
        target.setAttribute("role", "region");
        target.setAttribute("aria-labelledby", caption.id);
      } else {
        target.removeAttribute("role");
        target.removeAttribute("aria-labelledby");
      }
    }
  });
  boxes.forEach((box) => observer.observe(box));
}

// The contents show which section is read: the last one that has come to the top of the window.
function followReading(nav) {
  const top = 100; // pixels: below the contents on a phone, where a click on them takes a section
  const links = Array.from(nav.querySelectorAll("a"));
  const sections = links.map((link) => document.getElementById(link.hash.slice(1)));
  const update = () => {
    const passed = sections.filter((section) => section.getBoundingClientRect().top < top).length;
    const atEnd = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 2;
    const current = atEnd && window.scrollY > 0 ? links.length - 1 : passed - 1;
    links.forEach((link, place) => {
      if (place !== current) link.removeAttribute("aria-current");
      else if (!link.hasAttribute("aria-current")) {
        link.setAttribute("aria-current", "location");
        nav.scrollLeft = link.offsetLeft - (nav.clientWidth - link.offsetWidth) / 2;
      }
    });
  };
  let waiting = false;
  window.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      update();
    });
  }, { passive: true });
  update();
}

// A curve stands out while the pointer is on its name.
function highlightCurves(figure) {
  const parts = [figure.querySelectorAll(".legend li"), figure.querySelectorAll(".curve")].map((list) => Array.from(list));
  parts[0].forEach((name, place) => {
    const fade = (on) => parts.flat().forEach((part) =>
      part.classList.toggle("faded", on && part !== name && part !== parts[1][place]));
    name.addEventListener("pointerenter", () => fade(true));
    name.addEventListener("pointerleave", () => fade(false));
  });
}

// Browsers that do not know ::details-content print what is folded only if it is open.
function openOnPaper() {
  const opened = [];
  window.addEventListener("beforeprint", () => {
    opened.push(...document.querySelectorAll("details:not([open])"));
    opened.forEach((one) => { one.open = true; });
  });
  window.addEventListener("afterprint", () => opened.splice(0).forEach((one) => { one.open = false; }));
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("figure.curves").forEach(highlightCurves);
document.querySelectorAll("nav").forEach(followReading);
watchOverflow(document.querySelectorAll(".scroll"));
openOnPaper();
