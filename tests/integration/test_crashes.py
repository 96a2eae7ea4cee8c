"""What was acknowledged survives any crash: processes are killed under load, over and over."""
import pytest

from lib.campaign import OPTIONS, Campaign


@pytest.mark.timeout(300)
def test_kills_under_load(new_broker, build):
    Campaign.conduct(new_broker(options=OPTIONS), 200 if build == "release" else 20, seed=1)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2, 22))
def test_many_kills_under_load(new_broker, seed):
    Campaign.conduct(new_broker(options=OPTIONS), 300, seed)
