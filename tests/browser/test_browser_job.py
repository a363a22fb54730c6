"""What people do with the pages, done in a real browser: upload, check, watch, stop, download, retry, steer."""

import csv
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, write_file


def choose_file(page: Page, file: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a file").click()
    chooser.value.set_files(file)
    page.wait_for_url("**/check")


def start(page: Page) -> None:
    page.locator("#do-start").click()
    page.wait_for_url(re.compile(r"/uploads/[0-9a-f-]{36}$"))


def saved_rows(page: Page, folder: Path) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.locator("#download-csv").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_person_uploads_checks_starts_watches_and_downloads(open_page: OpenPage, area: int, tmp_path: Path) -> None:
    page = open_page("/")
    choose_file(page, write_file(tmp_path, area, 40))
    expect(page.get_by_role("button", name="Start 40 calls")).to_be_visible()
    expect(page.get_by_text("0.20 USD")).to_be_visible()
    start(page)
    expect(page.locator("#connection")).to_have_text("Live")
    page.evaluate("() => { window.stillTheSamePage = true; }")
    expect(page).to_have_title(re.compile(r"^\d+ % · people"))
    answered = page.locator("tr[data-row]", has_text=re.compile("OK to call|Not reachable|Do not call|Not a valid"))
    expect(answered.first).to_be_visible()
    expect(page.locator("#now")).to_contain_text(re.compile("Done"))
    expect(answered).to_have_count(40)
    expect(page).to_have_title(re.compile("^Done"))
    assert page.evaluate("() => window.stillTheSamePage"), "all of it came without a reload"
    rows = saved_rows(page, tmp_path)
    assert len(rows) == 40
    assert {row["scrub_status"] for row in rows} == {"answered"}


def test_the_wrong_column_is_corrected_before_anything_is_spent(open_page: OpenPage, area: int, tmp_path: Path) -> None:
    page = open_page("/")
    choose_file(page, write_file(tmp_path, area, 10))
    expect(page.get_by_text("“Fax” also looks like phones")).to_be_visible()
    page.get_by_role("checkbox", name="Phone").uncheck()
    page.get_by_role("checkbox", name="Fax").check()
    page.get_by_role("button", name="Check again with these choices").click()
    expect(page.get_by_text("“Phone” also looks like phones")).to_be_visible()
    expect(page.get_by_role("checkbox", name="Fax")).to_be_checked()
    page.get_by_role("button", name="Discard").click()
    page.wait_for_url(re.compile("/$"))
    expect(page.get_by_text(f"people-{area}.csv")).to_have_count(0)


def test_an_area_code_in_its_own_column_is_offered_by_a_button(open_page: OpenPage, area: int, tmp_path: Path) -> None:
    file = tmp_path / f"split-{area}.csv"
    lines = ["Name,Area,Phone", *(f"Person {n},{area},555-01{n:02d}" for n in range(12))]
    file.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")
    page = open_page("/")
    choose_file(page, file)
    expect(page.get_by_text("No row has a usable phone number")).to_be_visible()
    expect(page.locator("#do-start")).to_be_disabled()
    page.get_by_role("button", name="Area code is in “Area”").click()
    expect(page.get_by_role("button", name="Start 12 calls")).to_be_enabled()
    expect(page.get_by_text(f"+1{area}5550100")).to_be_visible()
    page.get_by_role("button", name="Discard").click()


def test_a_file_without_phones_says_so_and_can_be_read_otherwise(
    open_page: OpenPage, area: int, tmp_path: Path
) -> None:
    file = tmp_path / f"other-{area}.csv"
    file.write_text("Name,Contact\r\n" + "Ada,020 7946 0018 or ask\r\n" + "Bob,nobody\r\n" * 9, encoding="utf-8")
    page = open_page("/")
    choose_file(page, file)
    expect(page.get_by_text("No column with phones was found")).to_be_visible()
    page.get_by_label("The column with the numbers").fill("Contact")
    page.get_by_label("The country of the numbers").fill("gb")
    page.get_by_role("button", name="Check again").click()
    expect(page.get_by_role("button", name="Start 1 call")).to_be_visible()
    expect(page.get_by_text("+442079460018")).to_be_visible()


def test_what_a_sample_left_out_is_said_and_can_be_looked_up(open_page: OpenPage, area: int, tmp_path: Path) -> None:
    page = open_page("/")
    choose_file(page, write_file(tmp_path, area, 30))
    page.get_by_text("Start with less").click()
    page.get_by_label("A sample of the first rows").fill("4")
    page.get_by_role("button", name="Start the sample").click()
    expect(page.locator("#now")).to_contain_text("4 of 30 rows answered, 26 not looked up.")
    page.get_by_role("button", name="Look up the rest").click()
    expect(page.get_by_role("button", name="Start 26 calls")).to_be_visible()


def test_stopping_keeps_what_is_known(open_page: OpenPage, area: int, tmp_path: Path) -> None:
    page = open_page("/")
    choose_file(page, write_file(tmp_path, area, 200))
    start(page)
    expect(page.locator("tr[data-row]", has_text="OK to call").first).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#now")).to_contain_text("Paused")
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Stop and keep results").click()
    expect(page.locator("#now")).to_contain_text("Stopped")
    rows = saved_rows(page, tmp_path)
    assert (tmp_path / f"people-{area}.partial.csv").exists()
    assert len(rows) == 200
    states = {row["scrub_status"] for row in rows}
    assert states == {"answered", "unprocessed"}


def test_a_row_without_an_answer_is_found_downloaded_and_tried_again(
    open_page: OpenPage, area: int, tmp_path: Path
) -> None:
    special = f"(934) 555-01{area % 100:02d}"
    page = open_page("/")
    choose_file(page, write_file(tmp_path, area, 3, special=special))
    start(page)
    expect(page.locator("#now")).to_contain_text("Done, with gaps")
    page.get_by_role("link", name="No answer 1").click()
    expect(page.locator("tr[data-row]")).to_have_count(1)
    expect(page.locator("tr[data-row]")).to_contain_text("No answer")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download only these rows").click()
    path = tmp_path / "failed.csv"
    download.value.save_as(path)
    with path.open(encoding="utf-8", newline="") as file:
        failed = list(csv.DictReader(file))
    assert [(row["Name"], row["Phone"], row["scrub_error"]) for row in failed] == [("Special", special, "gave_up")]

    page.goto("/admin")
    letters = page.locator("#dead-letters")
    expect(letters.get_by_role("link", name=f"people-{area}.csv")).to_be_visible()
    letters.get_by_role("button", name=f"Retry people-{area}.csv").click()
    expect(page.get_by_role("status")).to_contain_text("Retrying 1 row with 1 call.")
    page.goto("/?show=completed")
    page.get_by_role("link", name=f"people-{area}.csv").click()
    expect(page.locator("#now")).to_contain_text("Done, with gaps")


def test_an_operator_pauses_all_calls(open_page: OpenPage) -> None:
    page = open_page("/admin")
    page.get_by_role("button", name="Pause all calls").click()
    expect(page.locator("#queue")).to_contain_text("All calls are paused")
    page.get_by_role("button", name="Resume all calls").click()
    expect(page.locator("#queue")).to_contain_text("Calls are being made")
    expect(page.locator("#parts")).to_contain_text("gate 1")


def test_ticked_uploads_stay_ticked_and_go_together(open_page: OpenPage, area: int, tmp_path: Path) -> None:
    page = open_page("/")
    files = [write_file(tmp_path, area, 3), write_file(tmp_path, area + 1, 3)]
    for file in files:
        choose_file(page, file)
        page.goto("/?show=checked")
    for file in files:
        page.get_by_role("checkbox", name=f"Select {file.name}").check()
    page.evaluate("() => { document.getElementById('list').dataset.seen = 'before'; }")
    expect(page.locator("#list")).not_to_have_attribute("data-seen", "before")  # drawn anew by the poll
    for file in files:
        expect(page.get_by_role("checkbox", name=f"Select {file.name}")).to_be_checked()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status").first).to_have_text("Deleted 2 uploads.")
    for file in files:
        expect(page.get_by_text(file.name)).to_have_count(0)


def test_everything_works_without_scripts(open_page: OpenPage, area: int, tmp_path: Path) -> None:
    page = open_page("/", java_script_enabled=False)
    page.locator("#file").set_input_files(write_file(tmp_path, area, 5))
    page.get_by_role("button", name="Upload and check").click()
    page.wait_for_url("**/check")
    for _ in range(100):
        if page.locator("#do-start").count():
            break
        page.get_by_role("link", name="Look again").click()
    page.get_by_role("button", name="Start 5 calls").click()
    for _ in range(200):
        if page.get_by_text("All 5 rows have their answers.").count():
            break
        page.reload()
    expect(page.get_by_text("All 5 rows have their answers.")).to_be_visible()
    assert len(saved_rows(page, tmp_path)) == 5


def test_the_keyboard_alone_is_enough(open_page: OpenPage, area: int, tmp_path: Path) -> None:
    page = open_page("/")
    # Playwright asks the renderer in the background to hand over its dialog: up to 27 ms, in which a key press may
    # overtake it. A command of the same session that has been answered, as `evaluate` below, shows that this one was.
    page.on("filechooser", lambda _chooser: None)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.evaluate("() => document.activeElement.id")
        assert focused != "file", "the focus is where nobody sees it"
        if focused == "choose":
            break
    expect(page.locator("#choose")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(write_file(tmp_path, area, 3))
    page.wait_for_url("**/check")
    page.locator("#do-start").wait_for()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.id") == "do-start":
            break
    page.keyboard.press("Enter")
    expect(page.locator("#now")).to_contain_text("Done")


def test_a_lost_connection_is_said_and_made_again(open_page: OpenPage, area: int, tmp_path: Path) -> None:
    page = open_page("/")
    choose_file(page, write_file(tmp_path, area, 60))
    start(page)
    expect(page.locator("#connection")).to_have_text("Live")
    page.context.route_web_socket("**/events*", lambda socket: socket.close())
    page.reload()
    expect(page.locator("#connection")).to_have_text("Updates every few seconds")
    expect(page.locator("#now")).to_contain_text("Done")
