/**
 * Roving tabindex: a group of buttons is one stop of the Tab key, and the arrow keys move inside it.
 */

/** @type {Record<string, (index: number, columns: number, count: number) => number>} */
const MOVES = {
  ArrowLeft: (index) => index - 1,
  ArrowRight: (index) => index + 1,
  ArrowUp: (index, columns) => index - columns,
  ArrowDown: (index, columns) => index + columns,
  Home: () => 0,
  End: (_, __, count) => count - 1,
};

/**
 * Makes the buttons in `group` one stop of the Tab key.
 * @param {HTMLElement} group
 * @param {() => HTMLElement[]} buttons in the order of reading
 * @param {(index: number) => void} onmove chooses the button that an arrow key leads to
 * @param {() => number} [columns] buttons per row
 * @returns {(index: number) => void} makes one button the stop
 */
export function rove(group, buttons, onmove, columns = () => 1) {
  group.addEventListener("keydown", (event) => {
    const all = buttons();
    const index = all.findIndex((button) => button === document.activeElement);
    const move = MOVES[event.key];
    if (index < 0 || !move || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const target = Math.min(Math.max(move(index, columns(), all.length), 0), all.length - 1);
    all[target].focus();
    onmove(target);
  });
  return (stop) => buttons().forEach((button, index) => (button.tabIndex = index === stop ? 0 : -1));
}

/**
 * Number of elements that stand in the first row of a wrapped list.
 * @param {HTMLElement[]} elements
 */
export function countInRow(elements) {
  const next = elements.findIndex((element) => element.offsetTop > elements[0].offsetTop + 1);
  return next < 0 ? elements.length : next;
}
