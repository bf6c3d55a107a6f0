// What the page says, in English and German.

const WORDS = {
  en: {
    jobs: "Jobs", bundles: "Bundles", photographs: "Photographs", administration: "Administration",
    skip: "To the content", language: "Deutsch", sign_out: "Sign out", sign_in: "Sign in",
    token: "Token", token_help: "An administrator makes one: seas-export serve token --name NAME",
    new_job: "New job", bundle: "Bundle", defects: "Defects", normals: "normals", count: "Pairs of each", seed: "Seed",
    onto: "Onto which photographs", auto: "as the bundle says", own: "those in the bundle", noise: "none: whole pictures",
    where: "Where on them", where_auto: "where defects were in training", where_foreground: "anywhere on the part",
    where_anywhere: "anywhere in the picture", guidance: "Guidance", steps: "Steps", batch: "At a time",
    priority: "Priority", more: "More options", start: "Start", legal: "Draw the legal area", legal_set: "Legal area: {n} polygons",
    gate: "reject pairs that cannot be right, and try again", bundle_default: "default",
    oversample: "Made for each that is kept", no_bundles: "No bundles yet. Build one, or upload a packed one.",
    no_jobs: "No jobs yet. Start one on the left.", job: "Job", status: "Status", progress: "Progress", by: "by",
    queued: "waiting", running: "running", paused: "paused", done: "done", failed: "failed", cancelled: "cancelled",
    pause: "Pause", resume: "Resume", cancel: "Cancel", remove: "Remove", sure_remove: "Remove this job and its pairs for good?",
    pairs_done: "pairs", per_pair: "s per pair", per_hour: "pairs an hour", left: "left", accepted: "accepted", rejected: "rejected",
    open: "not looked at", all: "all", filter_verdict: "Reviewed", filter_defect: "Defect", filter_gate: "Gate", passed: "passed",
    least_score: "Score at least", fade: "Mask", gallery: "Pairs", nothing: "No pairs here yet.", none_match: "No pair fits these filters.",
    more_pairs: "Show more", download: "Download", format: "Format", which: "Which", only_accepted: "accepted ones", but_rejected: "all but rejected",
    accept: "Accept", reject: "Reject", next: "Next", previous: "Previous", close: "Close", brush: "Brush", eraser: "Eraser", move: "Move",
    size: "Size", undo: "Undo", save: "Save mask", restore: "Original mask", saved: "The mask is saved; the generated one is kept too.",
    restored: "The generated mask holds again.", reason: "Reason", comment: "Comment", zoom_in: "Closer", zoom_out: "Farther", fit: "Whole picture",
    score: "Score", area: "Mask area", seconds: "Seconds", photograph: "Photograph", attempts: "Attempts", corrected: "mask corrected", by_whom: "Reviewed by",
    of: "of", not_passed: "did not pass: {why}", parity: "Parity with PyTorch", licences: "Licences", sampler: "Sampler", picture: "Picture", refused: "Not used",
    carries: "Photographs in it", upload_bundle: "Upload a packed bundle", upload: "Upload photographs", set_name: "Set", set_help: "small letters, digits, - and _",
    uploaded: "{n} uploaded", no_sets: "No photographs yet. Upload normal ones for defects to be drawn into.", tokens: "Tokens", make_token: "Make a token",
    name: "Name", role: "Role", viewer: "viewer: looks and downloads", operator: "operator: makes pairs", admin: "administrator", revoke: "Revoke",
    new_token: "Copy it now; it is not shown again:", audit: "Who did what", config: "Settings", disk: "GB free", waiting: "waiting", chart: "Seconds a pair, of the last pairs",
    chart_words: "Seconds a pair: last {last}, median {median}", area_help: "Click around the area in which defects may lie. Double-click or Enter closes a polygon; with the keyboard, arrows move the cross, space sets a point.",
    use: "Use it", clear: "Clear", keys: "Keys", keys_gallery: "arrows move, A accepts, R rejects, Enter opens", took_back: "taken back",
    eta_min: "{n} min", eta_h: "{n} h", lost: "The service does not answer. Trying again.", unsaved: "The drawn mask is not saved. Leave it?", loading: "Loading",
  },
  de: {
    jobs: "Aufträge", bundles: "Bündel", photographs: "Aufnahmen", administration: "Verwaltung",
    skip: "Zum Inhalt", language: "English", sign_out: "Abmelden", sign_in: "Anmelden",
    token: "Token", token_help: "Die Verwaltung erstellt eines: seas-export serve token --name NAME",
    new_job: "Neuer Auftrag", bundle: "Bündel", defects: "Fehlerarten", normals: "fehlerfrei", count: "Paare von jeder", seed: "Startzahl",
    onto: "Auf welche Aufnahmen", auto: "wie im Bündel vorgesehen", own: "die im Bündel", noise: "keine: ganze Bilder",
    where: "Wo darauf", where_auto: "wo Fehler im Training lagen", where_foreground: "überall auf dem Teil",
    where_anywhere: "überall im Bild", guidance: "Führung (Guidance)", steps: "Schritte", batch: "Gleichzeitig",
    priority: "Vorrang", more: "Weitere Einstellungen", start: "Starten", legal: "Erlaubte Fläche zeichnen", legal_set: "Erlaubte Fläche: {n} Polygone",
    gate: "unmögliche Paare verwerfen und neu versuchen", bundle_default: "Vorgabe",
    oversample: "Erzeugt je behaltenem", no_bundles: "Noch keine Bündel. Eines bauen oder ein gepacktes hochladen.",
    no_jobs: "Noch keine Aufträge. Links einen starten.", job: "Auftrag", status: "Stand", progress: "Fortschritt", by: "von",
    queued: "wartet", running: "läuft", paused: "angehalten", done: "fertig", failed: "fehlgeschlagen", cancelled: "abgebrochen",
    pause: "Anhalten", resume: "Fortsetzen", cancel: "Abbrechen", remove: "Löschen", sure_remove: "Diesen Auftrag mit seinen Paaren endgültig löschen?",
    pairs_done: "Paare", per_pair: "s je Paar", per_hour: "Paare je Stunde", left: "übrig", accepted: "angenommen", rejected: "abgelehnt",
    open: "nicht angesehen", all: "alle", filter_verdict: "Geprüft", filter_defect: "Fehlerart", filter_gate: "Prüfregel", passed: "bestanden",
    least_score: "Güte mindestens", fade: "Maske", gallery: "Paare", nothing: "Hier sind noch keine Paare.", none_match: "Kein Paar passt zu diesen Filtern.",
    more_pairs: "Mehr zeigen", download: "Herunterladen", format: "Format", which: "Welche", only_accepted: "angenommene", but_rejected: "alle außer abgelehnten",
    accept: "Annehmen", reject: "Ablehnen", next: "Nächstes", previous: "Voriges", close: "Schließen", brush: "Pinsel", eraser: "Radierer", move: "Verschieben",
    size: "Größe", undo: "Rückgängig", save: "Maske speichern", restore: "Ursprüngliche Maske", saved: "Die Maske ist gespeichert; die erzeugte bleibt erhalten.",
    restored: "Die erzeugte Maske gilt wieder.", reason: "Grund", comment: "Bemerkung", zoom_in: "Näher", zoom_out: "Weiter weg", fit: "Ganzes Bild",
    score: "Güte", area: "Maskenfläche", seconds: "Sekunden", photograph: "Aufnahme", attempts: "Versuche", corrected: "Maske berichtigt", by_whom: "Geprüft von",
    of: "von", not_passed: "nicht bestanden: {why}", parity: "Übereinstimmung mit PyTorch", licences: "Lizenzen", sampler: "Verfahren", picture: "Bild", refused: "Nicht benutzt",
    carries: "Aufnahmen darin", upload_bundle: "Gepacktes Bündel hochladen", upload: "Aufnahmen hochladen", set_name: "Satz", set_help: "Kleinbuchstaben, Ziffern, - und _",
    uploaded: "{n} hochgeladen", no_sets: "Noch keine Aufnahmen. Fehlerfreie hochladen, auf die Fehler gezeichnet werden.", tokens: "Tokens", make_token: "Token erstellen",
    name: "Name", role: "Rolle", viewer: "Betrachter: ansehen, herunterladen", operator: "Bediener: Paare erzeugen", admin: "Verwalter", revoke: "Entziehen",
    new_token: "Jetzt kopieren; es wird nicht wieder gezeigt:", audit: "Wer hat was getan", config: "Einstellungen", disk: "GB frei", waiting: "warten", chart: "Sekunden je Paar, der letzten Paare",
    chart_words: "Sekunden je Paar: zuletzt {last}, Median {median}", area_help: "Um die Fläche klicken, in der Fehler liegen dürfen. Doppelklick oder Eingabe schließt ein Polygon; mit der Tastatur bewegen Pfeile das Kreuz, die Leertaste setzt einen Punkt.",
    use: "Übernehmen", clear: "Leeren", keys: "Tasten", keys_gallery: "Pfeile bewegen, A nimmt an, R lehnt ab, Eingabe öffnet", took_back: "zurückgenommen",
    eta_min: "{n} min", eta_h: "{n} h", lost: "Der Dienst antwortet nicht. Neuer Versuch.", unsaved: "Die gezeichnete Maske ist nicht gespeichert. Verlassen?", loading: "Lädt",
  },
};

const KEPT = "seas-language";
let language = localStorage.getItem(KEPT) || (navigator.language.startsWith("de") ? "de" : "en");
document.documentElement.lang = language;

export function t(key, values = {}) {
  const text = WORDS[language][key] ?? WORDS.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export function switchLanguage() {
  language = language === "de" ? "en" : "de";
  localStorage.setItem(KEPT, language);
  document.documentElement.lang = language;
}

export function number(value, digits = 2) {
  return value === null || value === undefined
    ? "–"
    : value.toLocaleString(language, Math.abs(value) < 1 ? { maximumSignificantDigits: Math.max(1, digits) } : { maximumFractionDigits: digits });
}

export function moment(seconds) {
  return new Date(seconds * 1000).toLocaleString(language, { dateStyle: "short", timeStyle: "short" });
}
