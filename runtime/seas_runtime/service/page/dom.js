// Makes elements, and says things to people.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function fill(place, ...children) {
  place.replaceChildren(...h("div", {}, children).childNodes);
}

export const one = (selector, within = document) => within.querySelector(selector);

export function say(text) {
  one("#said").textContent = text;
}

let hiding;
export function toast(text) {
  const box = one("#toast");
  box.textContent = text;
  box.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { box.hidden = true; }, 7000);
}

export function field(words, control, wide = false) {
  return h("label", { class: wide ? "wide" : "" }, words, control);
}

export function options(values, chosen) {
  return values.map(([value, words]) => h("option", { value, selected: value === chosen }, words));
}

// A dialog that is removed when it is closed.
export function openDialog(content, attributes = {}) {
  const dialog = h("dialog", attributes, content);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
