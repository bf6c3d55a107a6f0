// Asks the service; a refusal becomes an Error with the service's own words.

export class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

export async function ask(method, path, body) {
  const headers = { "X-Seas": "1" };
  let sent = body;
  if (body !== undefined && !(body instanceof Blob)) {
    headers["Content-Type"] = "application/json";
    sent = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: sent, credentials: "same-origin" });
  } catch {
    throw new Refused(0, "the service cannot be reached");
  }
  if (!answer.ok) {
    const found = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, found.error || answer.statusText);
  }
  if (answer.status === 204) return null;
  return answer.json();
}

export const get = (path) => ask("GET", path);

export function pairPath(job, pair) {
  return `/v1/jobs/${job}/pairs/${encodeURIComponent(pair.defect)}/${pair.index}`;
}
