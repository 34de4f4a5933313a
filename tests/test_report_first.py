"""The first screen of the report names the scans to check, exactly, and says how many more there are."""

from __future__ import annotations

import pytest
from browser import browser, find
from small_runs import append_row
from test_report import scan_of, store

from hilum.outputs.ledger import Row, read_ledger
from hilum.report.page import write_report
from hilum.scan import Note

needs_browser = pytest.mark.skipif(find() is None, reason="no Chromium here (Debian: apt-get install chromium)")

SEEN = """[...document.querySelectorAll('#check [data-number]')].filter(one => {
  const box = one.getBoundingClientRect();
  return box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= innerWidth && box.width > 0;
}).map(one => JSON.parse(document.getElementById('scans').textContent)[one.dataset.number].id)"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Thirty scans: six with an alarm, six refused or failed, eighteen fine or with a remark."""
    folder = tmp_path_factory.mktemp("first") / "run"
    codes = ("leak", "missed-lung", "nodule-outside", "not-hu", "one-lung", "organ-included")
    for number in range(24):
        alarm = codes[number] if number < len(codes) else ""
        notes = (Note(alarm or ("cropped" if number % 2 else "no-nodules"), "told"),)
        store(scan_of(number % 5, notes=notes), folder, f"ct-{number:02d}")
        append_row(folder, Row(id=f"ct-{number:02d}", status="done", alarms=[alarm] if alarm else []))
    for number in range(24, 30):
        status = "failed" if number == 29 else "refused"
        append_row(folder, Row(id=f"ct-{number:02d}", status=status, code="gantry-tilt", reason="tilted <b>"))
    text = "id,dataset,series_uid,case,input,path\nct-00,lidc,1.2.3,LIDC-IDRI-0001,data,\n"
    (folder / "scans.csv").write_text(text)
    return folder


@needs_browser
@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1366, 768), (800, 768), (400, 768)])
def test_the_first_screen_names_the_alarms_and_refusals_of_the_ledger_and_no_other(run, tmp_path, width, height):
    wanted = sorted(row.id for row in read_ledger(run).values() if row.alarms or row.status in {"refused", "failed"})
    assert len(wanted) == 12
    with browser() as page:
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        page.open(write_report(run, tmp_path / "page.html").path)
        assert sorted(page.run(SEEN)) == wanted
        assert "12 of 30 scans" in page.run("document.getElementById('check-title').textContent")
        assert "LIDC-IDRI-0001" in page.run("document.getElementById('check').textContent")
        page.press("j", 74, "j")
        assert page.run("document.activeElement.classList.contains('open')")
        page.run("document.querySelector('#check [data-number]').click()")
        assert page.until("document.querySelectorAll('.detail').length", 1) == 1
        assert 0 <= page.run("document.activeElement.getBoundingClientRect().top") < height
        assert page.complaints() == []
