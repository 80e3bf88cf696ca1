// Elements. Names of pools, classes and texts of errors only ever become text:
// nothing here parses HTML.

const svgNS = "http://www.w3.org/2000/svg";

// make returns an element with attributes and children, texts among them.
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// draw returns an SVG element.
export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(svgNS, tag), attributes, children);
}

function fill(e, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) e.setAttribute(name, "");
    else if (value !== false && value != null) e.setAttribute(name, value);
  }
  e.append(...children);
  return e;
}

// say sets a text if it differs, so that a selection is kept.
export function say(e, text) {
  text = String(text);
  if (e.textContent !== text) e.textContent = text;
}

// attribute sets an attribute or, with null, removes it.
export function attribute(e, name, value) {
  if (value == null) e.removeAttribute(name);
  else if (e.getAttribute(name) !== String(value)) e.setAttribute(name, value);
}

// keyed makes the children of parent one element for each of items, in their order.
// An element is kept while there is an item with its key, with its focus, selection
// and open details. Of two items with one key the first counts.
export function keyed(parent, items, key, create, update) {
  const old = parent.kept ?? new Map();
  const kept = new Map();
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  for (const item of items) {
    const k = String(key(item));
    if (!kept.has(k)) kept.set(k, item);
  }
  // First, so that the elements behind need not be moved.
  for (const [k, e] of old) if (!kept.has(k)) e.remove();
  let at = parent.firstElementChild;
  for (const [k, item] of kept) {
    const e = old.get(k) ?? create(item);
    kept.set(k, e);
    update(e, item);
    if (e === at) at = at.nextElementSibling;
    else parent.insertBefore(e, at);
  }
  parent.kept = kept;
  // An element that is moved loses focus.
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
}
