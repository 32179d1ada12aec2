/**
 * Focus in a grid of buttons: one stop for the Tab key, arrow keys inside.
 */

/** Grids that have their listeners. @type {WeakSet<HTMLElement>} */
const known = new WeakSet();

/**
 * Makes the buttons of a grid one stop. Call it again after the buttons have changed.
 * @param {HTMLElement} grid
 * @param {number} [start] index of the stop
 */
export function roveFocus(grid, start = 0) {
  const buttons = () => [...grid.querySelectorAll("button")];
  buttons().forEach((button, index) => (button.tabIndex = index === start ? 0 : -1));
  if (known.has(grid)) return;
  known.add(grid);
  grid.addEventListener("focusin", ({ target }) => {
    const all = buttons();
    if (all.some((button) => button === target)) for (const button of all) button.tabIndex = button === target ? 0 : -1;
  });
  grid.addEventListener("keydown", (event) => {
    const all = buttons();
    const index = all.findIndex((button) => button === document.activeElement);
    if (index < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const top = all[0].offsetTop;
    const columns = Math.max(1, all.filter((button) => button.offsetTop === top).length);
    /** @type {Record<string, number>} */
    const targets = {
      ArrowRight: index + 1,
      ArrowLeft: index - 1,
      ArrowDown: index + columns,
      ArrowUp: index - columns,
      Home: 0,
      End: all.length - 1,
    };
    const next = all[targets[event.key] ?? -1];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
}
