"""Cases that wait rather than compute, all at once."""
from concurrent.futures import ThreadPoolExecutor


def together(case, argument_lists):
    """Calls case(*arguments) for each list in a thread of its own; raises the first failure."""
    with ThreadPoolExecutor(max_workers=len(argument_lists)) as pool:
        for done in [pool.submit(case, *arguments) for arguments in argument_lists]:
            done.result()
