"""The page's style sheet."""

STYLE = """
:root{color-scheme:light;--ink:#0f172a;--soft:#64748b;--line:#e2e8f0;--paper:#fff;--accent:#2563eb}
*{box-sizing:border-box}
body{margin:0;background:#f1f5f9;color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 20px 60px}
header h1{font-size:30px;margin:0}
header p{margin:2px 0 18px;color:var(--soft)}
header .note{margin:0 0 12px}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin-bottom:20px}
.tiles div{background:var(--paper);border:1px solid var(--line);border-radius:10px;
  padding:12px 18px;min-width:150px}
.tiles b{display:block;font-size:24px;font-variant-numeric:tabular-nums}
.tiles span{color:var(--soft);font-size:13px}
section{background:var(--paper);border:1px solid var(--line);border-radius:12px;
  padding:18px 22px;margin:0 0 18px}
h2{font-size:19px;margin:0 0 12px}
h3{font-size:16px;margin:22px 0 6px}
section>h3:first-of-type{margin-top:0}
h4{font-size:12px;font-weight:600;letter-spacing:.04em;text-transform:uppercase;
  color:var(--soft);margin:10px 0 4px}
.strip{display:grid;grid-template-columns:repeat(8,minmax(0,1fr));gap:8px;margin-bottom:10px}
.strip figure{margin:0}
.strip img{display:block;width:100%;border-radius:4px;margin-bottom:4px;transition:transform .12s}
.strip img:hover{transform:scale(2.1);position:relative;z-index:2;box-shadow:0 6px 24px #0006}
.strip figure:first-child img:hover{transform-origin:left}
.strip figure:nth-child(8) img:hover{transform-origin:right}
.strip.small{grid-template-columns:repeat(12,minmax(0,1fr))}
figcaption{font-size:11px;color:var(--soft);overflow-wrap:anywhere}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:14px}
.charts figure{margin:0}
.charts figcaption{font-size:13px;color:var(--ink)}
svg{width:100%;height:auto;display:block}
svg .grid{stroke:#e2e8f0}
svg .tick{font-size:10.5px;fill:#64748b}
svg .legend{font-size:12.5px;fill:#0f172a}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
th{text-align:left;font-weight:600;color:var(--soft);font-size:12.5px}
th,td{padding:5px 14px 5px 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
tr.failed td{color:#b91c1c;font-weight:600}
.note{background:#fef3c7;border-radius:8px;padding:8px 14px;color:var(--ink)}
details td:first-child{width:38%;color:var(--soft)}
summary{cursor:pointer;color:var(--soft)}
.empty{color:var(--soft)}
@media print{body{background:#fff}section{break-inside:avoid}}
@media (max-width:760px){.strip{grid-template-columns:repeat(4,minmax(0,1fr))}}
"""
