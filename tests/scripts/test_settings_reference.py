from core.settings import Settings
from scripts import settings_reference


def test_the_page_is_what_the_code_says():
    written = settings_reference.PATH.read_text(encoding="utf-8")
    assert written == settings_reference.render(), "run `python -m scripts.settings_reference`"


def test_every_setting_has_a_meaning():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
