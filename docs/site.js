// Tables that scroll can be scrolled by keyboard, and each block of code has a name of its own.
window.addEventListener("load", () => setTimeout(() => {
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap")) table.tabIndex = 0;
  document.querySelectorAll(".md-code__nav").forEach((nav, n) => nav.setAttribute("aria-label", `code block ${n + 1}`));
}));
