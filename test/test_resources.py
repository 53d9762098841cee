import pytest

from don_kp_ros import resources


def test_the_checkout_comes_first_then_the_prefixes(tmp_path, monkeypatch):
    assert resources.config_path('robots/panda.yaml').is_file()
    share = tmp_path / 'share' / 'don_kp' / 'config'
    share.mkdir(parents=True)
    (share / 'only_here.txt').touch()
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/nowhere:{tmp_path}')
    assert resources.config_path('only_here.txt') == share / 'only_here.txt'


def test_what_is_missing_is_told_with_the_places(monkeypatch):
    monkeypatch.setenv('AMENT_PREFIX_PATH', '/nowhere')
    with pytest.raises(FileNotFoundError, match=r'/nowhere/share/don_kp/config/none\.yaml'):
        resources.config_path('none.yaml')
