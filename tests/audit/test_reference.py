from scripts.audit_reference import PAGE, TITLES, page


def test_the_reference_page_says_what_the_code_says():
    assert PAGE.read_text() == page(), "run python -m scripts.audit_reference"
    assert all(f"## {title}" in page() for title in TITLES.values())
