/** The upload form with a progress bar. Without this script the form is sent like any other. */

const form = /** @type {HTMLFormElement} */ (document.getElementById("upload"));
const input = /** @type {HTMLInputElement} */ (document.getElementById("file"));
const button = form.querySelector("button");
const progress = document.getElementById("progress");
const bar = /** @type {HTMLProgressElement} */ (document.getElementById("bar"));
const text = document.getElementById("progress-text");
const refused = document.getElementById("refused");
const drop = form.querySelector(".drop");
const bytesMax = Number(form.dataset.bytesMax);
const number = new Intl.NumberFormat("en");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const [file] = input.files;
  if (!file) return;
  if (file.size > bytesMax) {
    showRefusal({
      fileName: file.name,
      reason: `The file is larger than ${number.format(bytesMax / 1024 / 1024)} MiB, which is the most that can be uploaded here.`,
      problems: [],
      bad: 0,
    });
    return;
  }
  send(file);
});

/** @param {File} file */
function send(file) {
  const token = crypto.randomUUID?.() ?? String(Math.random()).slice(2).padEnd(16, "0");
  const request = new XMLHttpRequest();
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  refused.replaceChildren();
  bar.removeAttribute("value");
  text.textContent = "";
  progress.hidden = false;
  button.disabled = true;
  let sent = 0;
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    sent = total ? loaded / total : 0;
    if (!bar.hasAttribute("value")) text.textContent = `${Math.round(sent * 100)} % uploaded`;
  });
  const asking = setInterval(() => void askProgress(token, () => sent), 300);
  request.addEventListener("loadend", () => {
    clearInterval(asking);
    button.disabled = false;
    progress.hidden = true;
    finish(request, file);
  });
  request.send(formData(token, file));
}

/** The form's fields with the file at the end: the server takes it apart while it arrives. */
function formData(token, file) {
  const fields = new FormData(form);
  const ordered = new FormData();
  ordered.append("import", token);
  for (const [name, value] of fields) if (name !== "file") ordered.append(name, value);
  ordered.append("file", file, file.name);
  return ordered;
}

/** The bar shows what the server has read and imported, which comes after what has been sent. */
async function askProgress(token, sent) {
  const response = await fetch(`/imports/${token}`).catch(() => undefined);
  if (!response?.ok) return;
  const { bytes, bytesTotal, dots, bad } = await response.json();
  if (bytesTotal) bar.value = Math.round((bytes / bytesTotal) * 100);
  const badRows = bad > 0 ? `, ${number.format(bad)} bad` : "";
  text.textContent = `${Math.round(sent() * 100)} % uploaded, ${number.format(dots)} rows imported${badRows}`;
}

function finish(request, file) {
  let answer;
  try {
    answer = JSON.parse(request.responseText);
  } catch {
    answer = undefined;
  }
  if (request.status === 200 && answer?.address) location.href = answer.address;
  else if (answer?.reason) showRefusal(answer);
  else if (request.status === 403) showRefusal({ fileName: file.name, reason: "This page is too old. Load it again and send the file once more.", problems: [], bad: 0 });
  else showRefusal({ fileName: file.name, reason: "The upload failed. Please try again.", problems: [], bad: 0 });
}

function showRefusal({ fileName, reason, problems, bad }) {
  const message = document.createElement("p");
  message.className = "problem";
  const name = document.createElement("strong");
  name.textContent = fileName ? `${fileName}: ` : "";
  message.append(name, reason);
  const list = document.createElement("ul");
  for (const { line, problem } of problems) {
    const item = document.createElement("li");
    item.textContent = `Line ${number.format(line)}: ${problem}`;
    list.append(item);
  }
  if (bad > problems.length) {
    const more = document.createElement("li");
    more.textContent = `and ${number.format(bad - problems.length)} more`;
    list.append(more);
  }
  refused.replaceChildren(message, ...(list.children.length > 0 ? [list] : []));
}

for (const type of ["dragenter", "dragover"]) {
  drop.addEventListener(type, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
for (const type of ["dragleave", "drop"]) drop.addEventListener(type, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length > 0) input.files = event.dataTransfer.files;
});
