"""The process: a current interpreter, no more rights than needed, nothing left behind by a crash."""

from scripts.validation.check import Severity, check
from scripts.validation.inspection import Inspection

OLDEST_PYTHON = (3, 11)
OLDEST_OPENSSL = (3, 0)
OTHERS_WRITE = 0o002


@check("process.python_supported", Severity.HIGH, "Use Python 3.11 or newer")
def python_supported(inspection: Inspection) -> str | None:
    """Security fixes still come."""
    python = inspection.process.python
    return f"Python {python[0]}.{python[1]} is too old" if python < OLDEST_PYTHON else None


@check("process.openssl_supported", Severity.MEDIUM, "Use a Python that is built with OpenSSL 3")
def openssl_supported(inspection: Inspection) -> str | None:
    """TLS gets its fixes too."""
    version = inspection.process.openssl
    return f"OpenSSL {'.'.join(map(str, version))} gets no more fixes" if version < OLDEST_OPENSSL else None


@check("process.not_root", Severity.HIGH, "Run the service under a user of its own", production=True)
def not_root(inspection: Inspection) -> str | None:
    """A hole in the service is not a hole in the machine."""
    return "runs as root" if inspection.process.is_root else None


@check("process.no_core_dumps", Severity.MEDIUM, "ulimit -c 0, or LimitCORE=0: a dump holds the keys", production=True)
def no_core_dumps(inspection: Inspection) -> str | None:
    """Memory does not get onto the disk."""
    return "core dumps are on" if inspection.process.core_dump_bytes else None


@check("process.asserts_run", Severity.LOW, "Run Python without -O")
def asserts_run(inspection: Inspection) -> str | None:
    """Guards of ours and of libraries are not compiled away."""
    return "Python runs optimised, without assertions" if inspection.process.optimised else None


@check("process.umask", Severity.LOW, "umask 027")
def umask(inspection: Inspection) -> str | None:
    """New files are not open to all."""
    return f"umask is {inspection.process.umask:04o}" if not inspection.process.umask & OTHERS_WRITE else None
