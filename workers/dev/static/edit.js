/** The title of a card, while somebody writes over it. */

/**
 * Put a form in the place of a title until it is saved or cancelled, or left as it was.
 *
 * `save(text)` resolves to whether that was done; if not, what was typed stays, to be tried again. `closed(hadFocus)` is
 * called with the title back in its place.
 */
export function editTitle(template, title, { id, save, closed }) {
  const form = template.content.cloneNode(true).firstElementChild;
  const field = form.elements.title;
  const hint = form.querySelector(".hint");
  const before = title.textContent;
  let isOpen = true;
  const close = () => {
    // Taking the form away is leaving it, too.
    if (!isOpen) return;
    isOpen = false;
    const hadFocus = form.contains(document.activeElement);
    form.replaceWith(title);
    closed(hadFocus);
  };
  field.value = before;
  hint.id = `edit-hint-${id}`;
  field.setAttribute("aria-describedby", hint.id);
  title.replaceWith(form);
  field.focus();
  field.select();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit(form, save, close);
  });
  form.querySelector(".cancel").addEventListener("click", close);
  form.addEventListener("focusout", ({ relatedTarget }) => {
    // A look at another window is no leaving.
    if (field.value === before && document.hasFocus() && !form.contains(relatedTarget)) close();
  });
  form.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") close();
    if (event.key === "Enter" && event.target === field && !event.shiftKey) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
}

async function submit(form, save, close) {
  const field = form.elements.title;
  const button = form.querySelector(".save");
  field.value = field.value.trim();
  if (button.disabled || !form.reportValidity()) return;
  button.disabled = true;
  const isDone = await save(field.value);
  button.disabled = false;
  if (isDone) close();
}
