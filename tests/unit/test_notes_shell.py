from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.old_lines import TEXTS
from vmlan.notes.shell import PLACEHOLDER, command_lines, from_words, placeholder, shown


def read(text: str) -> list[str]:
    """Every command of the text, as people see it; `|` stands where a word holds a blank."""
    return [
        " ".join(shown(word).replace(" ", "|") or "''" for word in line.words) for line in command_lines(text)
    ]


def one(text: str) -> str:
    found = read(text)
    assert len(found) == 1, found
    return found[0]


def remarks(text: str) -> str:
    (line,) = command_lines(text)
    return "\n".join(line.remarks)


LINES = {
    # quotes and escapes
    "qemu-system-x86_64 -append 'a b' -name \"c d\"": "qemu-system-x86_64 -append a|b -name c|d",
    "kvm -drive file='my disk.img',if=virtio -m 1": "kvm -drive file=my|disk.img,if=virtio -m 1",
    "kvm -hda my\\ disk.img -m \"\"": "kvm -hda my|disk.img -m ''",
    "kvm -append $'a\\tb\\x41' -m 1": "kvm -append a\tbA -m 1",
    'kvm -append "say \\"hi\\" \\$HOME" -s': 'kvm -append say|"hi"|$HOME -s',
    "qemu-system-x86\\_64 -m 512": "qemu-system-x86_64 -m 512",
    "kvm -append 'x' -incoming '{\"a\": \"b\"}'": 'kvm -append x -incoming {"a":|"b"}',
    # continuations, whole and broken
    "kvm -m 512 \\\n  -hda a.img": "kvm -m 512 -hda a.img",
    "kvm -m 512 \\\n  -append \"a \\\n b\"": "kvm -m 512 -append a||b",
    "kvm -m 512 \\   \n -hda a.img": "kvm -m 512 -hda a.img",
    "kvm -m 512\n -hda a.img \\\n -s": "kvm -m 512 -hda a.img -s",
    "kvm -m 512\\\n-hda a.img": "kvm -m 512 -hda a.img",
    "kvm -m 512 \\ -hda a.img \\\\ -s": "kvm -m 512 -hda a.img -s",
    "kvm -m 512 \\ (half a gigabyte)\n-hda a.img \\\nb.raw": "kvm -m 512 -hda a.img b.raw",
    "kvm -m 512 \\\n # -hda old.img \\\n  -hda a.img": "kvm -m 512 -hda a.img",
    "kvm -m 512 \\\n -s \\\n\nls": "kvm -m 512 -s",
    "kvm -m 512 # half\n -hda a.img": "kvm -m 512 -hda a.img",
    "kvm.exe ^\n -m 512 ^\n -hda C:\\vm\\a.img": "kvm.exe -m 512 -hda C:\\vm\\a.img",
    # what stands before and after
    "sudo -u root -E qemu-system-i386 -m 1": "qemu-system-i386 -m 1",
    "A=b C='d e' qemu -m 1": "qemu -m 1",
    "exec nohup nice -n 5 ionice -c 3 qemu -m 1 &": "qemu -m 1",
    "taskset -c 0,1 qemu -m 1": "qemu -m 1",
    "timeout -k 5 30s qemu -m 1 || true": "qemu -m 1",
    "time env -i A=b qemu -m 1": "qemu -m 1",
    "sudo ip netns exec red qemu -m 1": "qemu -m 1",
    "script -f -c qemu -m 1 -curses'": "qemu -m 1 -curses",
    "script -q -c \"qemu -m 1 -append 'a b'\" log": "qemu -m 1 -append a|b",
    "bash -c 'cd /tmp; qemu -m 1'": "qemu -m 1",
    "su - joe -c 'kvm -m 1'": "kvm -m 1",
    "strace -f -o log qemu -m 1": "qemu -m 1",
    "gdb -q --args ./qemu -m 1": "./qemu -m 1",
    'start "my machine" /B qemu.exe -m 1': "qemu.exe -m 1",
    "screen -dmS box kvm -m 1": "kvm -m 1",
    "tmux new-session -d 'kvm -m 1'": "kvm -m 1",
    "$SUDO kvm -m 1": "kvm -m 1",
    "@$(QEMU) -m 1": "<QEMU> -m 1",
    "-qemu-system-$(ARCH) -m 1": "qemu-system-<ARCH> -m 1",
    "\t-@qemu-system-arm -m 1": "qemu-system-arm -m 1",
    "qemu -m 1 > out.txt 2>&1 < /dev/null": "qemu -m 1",
    "qemu -m 1 &> out; echo done": "qemu -m 1",
    "echo quit | qemu -m 1 -monitor stdio | tee log": "qemu -m 1 -monitor stdio",
    "(cd /vm && qemu -m 512)": "qemu -m 512",
    "if true; then qemu -m 1; fi": "qemu -m 1",
    "while :; do kvm -m 1; sleep 1; done": "kvm -m 1",
    "run() { kvm -m $1 -hda $2; }": "kvm -m <arg1> -hda <arg2>",
    "case $1 in a) kvm -m 1;; esac": "kvm -m 1",
    "test -e a.img && kvm -hda a.img": "kvm -hda a.img",
    # prompts, bullets and Markdown
    "$ kvm -m 1": "kvm -m 1",
    "> kvm -m 1": "kvm -m 1",
    "joe@box:~/vm$ kvm -m 1": "kvm -m 1",
    "[root@box vm]# kvm -m 1": "kvm -m 1",
    "PS C:\\vm> qemu.exe -m 1": "qemu.exe -m 1",
    "C:\\vm>qemu.exe -m 1": "qemu.exe -m 1",
    "* kvm -m 1": "kvm -m 1",
    "1. kvm -m 1": "kvm -m 1",
    "Then `kvm -m 1 -hda a.img`, and wait.": "kvm -m 1 -hda a.img",
    "Don't type ``kvm -m 1\n-s`` twice; it's done.": "kvm -m 1 -s",
    "```sh\nkvm -m 1\n```": "kvm -m 1",
    "```sh\n$ kvm -m 1 \\\n> -hda a.img \\\n```\nThat's it": "kvm -m 1 -hda a.img",
    "text\n\n    kvm -m 1\n\nmore text": "kvm -m 1",
    "ExecStart=/usr/bin/kvm -m 1": "/usr/bin/kvm -m 1",
    "kvm -m 1 -append “a b”": "kvm -m 1 -append a|b",
    "kvm –m 1 —enable-kvm": "kvm -m 1 -enable-kvm",
    "<pre>kvm -m 1</pre>": "kvm -m 1",
    'cmd = f"kvm -m 1 -hda {disk}"': "kvm -m 1 -hda {disk}",
    # programs
    "qemu-system-riscv64w.lnk -m 1": "qemu-system-riscv64w.lnk -m 1",
    "qemu-system-x86_64w.exe -m 1": "qemu-system-x86_64w.exe -m 1",
    '"C:\\Program Files\\qemu\\qemu.exe" -m 1': "C:\\Program|Files\\qemu\\qemu.exe -m 1",
    "C:\\Program Files\\qemu\\qemu.exe -m 1": "C:\\Program|Files\\qemu\\qemu.exe -m 1",
    "$D/qemu-system-x86_64 -m 1": "<D>/qemu-system-x86_64 -m 1",
    "${QEMU:-qemu-system-x86_64} -m 1": "qemu-system-x86_64 -m 1",
    "$(which qemu-kvm) -m 1": "qemu-kvm -m 1",
    '"$QEMU_BIN" $OPTS': "<QEMU_BIN> <OPTS>",
    "%QEMU% -m 1": "<QEMU> -m 1",
    "$D/qemu-system-$(arch.sh $A) $B -s": "<D>/qemu-system-<arch_sh_A> <B> -s",
    # variables nobody knows
    "kvm -m $MEM -hda ${DISK} $1 -name \"vm-$USER\"": "kvm -m <MEM> -hda <DISK> <arg1> -name vm-<USER>",
    "kvm -smp $(N) -chardev path=$$T/sock,id=a": "kvm -smp <N> -chardev path=<T>/sock,id=a",
    "kvm -L %Q%bios %SER% -s": "kvm -L <Q>bios <SER> -s",
    "kvm -drive file=<disk-image>,if=ide -m <size in MB>": "kvm -drive file=<disk-image>,if=ide -m <size_in_MB>",
    "kvm -m 1 <in 2>err": "kvm -m 1",
    "kvm -m ${MEM:-512} -smp ${N-2}": "kvm -m 512 -smp 2",
    "kvm -m $((2 * 1024)) -smp $((N + 1))": "kvm -m 2048 -smp <N_1>",
    "kvm -smp `nproc` -m 1": "kvm -smp <nproc> -m 1",
    "kvm -s \"$@\"": "kvm -s",
    "kvm -hda ~/a.img -name $HOME": "kvm -hda ~/a.img -name <HOME>",
    "kvm -\"$O\" \"$A/$B\" #-s": "kvm -<O> <A>/<B>",
    "kvm -add-fd fd=3,opaque=\"rdwr:a\" 3<>a": "kvm -add-fd fd=3,opaque=rdwr:a",
    # stray words stay
    "kvm -m 1 qemu -hda file=a.img ro": "kvm -m 1 qemu -hda file=a.img ro",
    "kvm -hda -m 1024": "kvm -hda -m 1024",
    # a line of its own may be less than clear
    "Q -soundhw sb16 -m 384": "Q -soundhw sb16 -m 384",
    "${A} ${B} -m ${C} -enable-kvm": "<A> <B> -m <C> -enable-kvm",
    "# kvm -m 1 & # -s": "kvm -m 1",
    "# ip netns exec red kvm -m 1": "kvm -m 1",
    "firewrap --x kvm -m 1": "kvm -m 1",
    "\"dir/a qemu.exe ^\n -m 1 ^\n -append \"a b\" ^\n -s": "qemu.exe -m 1 -append a|b -s",
    "qemu-system-x86_64": "qemu-system-x86_64",
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_command_in_another_text(text: str) -> None:
    assert one(text) == TEXTS[text]


def test_the_environment_is_one_remark() -> None:
    assert remarks("LC_ALL=C PATH=/bin qemu -m 1") == "LC_ALL and PATH were set for it, and are left out"


@pytest.mark.parametrize("text", LINES)
def test_one_line(text: str) -> None:
    assert one(text) == LINES[text]


SCRIPTS = {
    "M=2G\nD=\"my disk.img\"\nkvm -m $M -hda \"$D\" -hdb $D": "kvm -m 2G -hda my|disk.img -hdb my disk.img",
    "A=\"-m 512 -smp 2\"\nkvm $A -s": "kvm -m 512 -smp 2 -s",
    "D=/vm; I=$D/a.img; export I\nkvm -hda ${I}": "kvm -hda /vm/a.img",
    "export D=a.img\nkvm -hda $D": "kvm -hda a.img",
    "D=$1\nN=$(nproc)\nkvm -hda $D -smp $N": "kvm -hda <D> -smp <N>",
    "A=( -m 512 # half\n  -s )\nA+=(-name 'a b')\nkvm \"${A[@]}\"": "kvm -m 512 -s -name a|b",
    "A='-m 512'\nA+=' -s'\nA=\"$A -S\"\nkvm $A": "kvm -m 512 -s -S",
    "c=( kvm\n -m 1\n# -s\n# a (note)\n -hda a.img\n)\n\"${c[@]}\"": "kvm -m 1 -hda a.img",
    "c=( kvm\n -m 1\n)": "kvm -m 1",
    "c='kvm -m 1'\neval $c": "kvm -m 1",
    "c=\"kvm -m 1 -append 'a b'\"\n$c -s": "kvm -m 1 -append a|b -s",
    "c=\"kvm \\\n -m 1 \\\n -s\"\necho $c\n$c": "kvm -m 1 -s",
    "Q = qemu-system-i386 -m 1 -kernel $(K)\nK := a.bin\nrun:\n\t$(Q) -s": "qemu-system-i386 -m 1 -kernel a.bin -s",
    "QEMU_CMD = qemu-system-i386 -kernel $(T)": "qemu-system-i386 -kernel <T>",
    "QEMU_CMD=qemu-system-i386 -kernel $(T)": "qemu-system-i386 -kernel <T>",
    "F = -append \"a b\" \\\n  -s # note\nrun:\n\t-qemu $(F) -hda $<": "qemu -append a|b -s -hda <first_prerequisite>",
    "N ?= 2\nN ?= 3\nrun:\n\tkvm -smp ${N} -s": "kvm -smp 2 -s",
    "@echo off\r\nset D=a b.img\r\nset \"N=2\"\r\nqemu.exe -hda \"%D%\" -smp %N%": "qemu.exe -hda a|b.img -smp 2",
    "set -l o -m 1 -s\nqemu-system-arm $o": "qemu-system-arm -m 1 -s",
    "alias q='kvm -m 1'\nq -s": "kvm -m 1 -s",
    ": ${M:=512}\nkvm -m $M": "kvm -m 512",
    "M=512; kvm -m $((M*2)) ${X:+-s}": "kvm -m 1024",
    "cat > f <<EOF\nkvm -m 7\nEOF\nkvm -m 1": "kvm -m 1",
    "cat > run.sh <<'EOF'\nkvm -m 7\nEOF\nchmod +x run.sh": "kvm -m 7",
    "# kvm -m 7\nkvm -m 1": "kvm -m 1",
    "# kvm \\\n#   -m 7 \\\n#   -s\nls": "kvm -m 7 -s",
    "# Title\n\nqemu doesn't mind. The `-m` option\n\n    kvm -m 1 -append 'a b'\n\nIt's up": "kvm -m 1 -append a|b",
    "it doesn't work:\nsudo kvm -m 1 -name 'x y'\nisn't it": "kvm -m 1 -name x|y",
    "kvm -m 1 -append \"a b\n\nnext paragraph \"here\"": "kvm -m 1 -append a|b",
}  # fmt: skip


@pytest.mark.parametrize("text", SCRIPTS)
def test_one_command_of_a_script(text: str) -> None:
    assert one(text) == SCRIPTS[text]


@pytest.mark.parametrize(
    "text",
    [
        "", "\n\n", "qemu-img create -f qcow2 a.qcow2 1G", "I use qemu and kvm, which is what -enable-kvm is for.",
        "sudo apt install qemu-kvm qemu-system-x86 -y", "kvm is a module", "apt-cache show qemu-system-x86_64",
        "man qemu-system-x86_64", "echo 'kvm -m 1'", "`qemu-system-x86_64` emulates a PC.", "ls -la /vm",
        "modprobe kvm -r", "qemu-nbd -c /dev/nbd0 a.qcow2", "find . -name a -boot", "$QEMU_IMG create -f raw a 1G",
        "qemu-system-x86_64: -foo: invalid option", "'", '"', "$(", "${", "`", "\\", "<<", "a=(", "kvm", "<", "|", "$'",
    ],
)  # fmt: skip
def test_no_command(text: str) -> None:
    assert command_lines(text) == () or text == "kvm"


def test_a_page_has_them_in_order_and_with_their_lines() -> None:
    page = """# My machines

First the *server*, it's small:

```
$ qemu-img create -f qcow2 s.qcow2 1G
$ qemu-system-x86_64 -m 512 \\
    -hda s.qcow2
```

The client uses `kvm -m 1G -cdrom live.iso`; don't forget it.
Then: (kvm -m 2 -s)
"""
    found = command_lines(page)
    assert [(line.line, line.words[1:3]) for line in found] == [
        (7, ("-m", "512")),
        (11, ("-m", "1G")),
        (12, ("-m", "2")),
    ]


def test_two_uses_of_a_variable_are_two_commands() -> None:
    assert read("C='kvm -m 1'\n$C -s\n$C -S") == ["kvm -m 1 -s", "kvm -m 1 -S"]
    assert read("kvm -m 1\nkvm -m 2; kvm -m 3") == ["kvm -m 1", "kvm -m 2", "kvm -m 3"]


SAID = {
    "sudo kvm -m 1": "sudo is left out: a lab needs no root",
    "A=b kvm -m 1": "A=b was set for it, and is left out",
    "timeout 30s kvm -m 1": "timeout 30s is left out: a lab runs until `vmlan down`",
    "kvm -m 1 > a 2>&1": "the redirection > a 2>&1 is left out: `vmlan console` shows what the machine writes",
    "kvm -m 1 &": "the & after it is left out: a lab always runs in the background",
    "echo a | kvm -m 1": "'echo a' was piped into it, and is left out",
    "kvm -m 1 | tee a": "it was piped into 'tee a', which is left out",
    "kvm -m 1 # a note": "the comment '# a note' is left out",
    "kvm -m 1 & # -s": "the comment '# -s' is left out",
    "kvm -m ${M:-1}": "M is not set in the text: its default '1' is used",
    "kvm -m 1 $*": "$*, the arguments of the script, is left out",
    "kvm -m `cat m`": "what 'cat m' prints is not known: no command of the text is run",
    "N=$1\nkvm -m $N": "N is argument 1 of the script",
    "M=1\nM=2\nkvm -m $M": "M is set more than once: its last value before the command is used",
    "if [ $1 ]; then\nM=1\nfi\nkvm -m $M": "M is set under a condition, which is taken to hold",
    "A=(-s)\n[ $1 ] && A+=(-S)\nkvm ${A[@]}": "A is set under a condition, which is taken to hold",
    "kvm -m 1\n -s": "a '\\' is missing before the line of -s: the lines were joined",
    "kvm -m 1 \\ \n -s": "blanks after a '\\' at the end of a line are ignored",
    "kvm -s -m '1": "a quote (') is not closed: it was taken to end with its line",
    "kvm -m 1 (a note)": "'(a note)' is left out: it is no part of a command",
    "Q -hda a.img": "the program 'Q' is not known to be QEMU; it is read as if it were",
    "wrap kvm -m 1": "'wrap' before the program is left out",
    "# kvm -m 1": "its line begins with '#': a comment or root's prompt; it is read as there is no other command",
    "cat <<E\nkvm -m 1\nE": "it stands in a here-document; it is read as there is no other command",
    "X = kvm -m 1": "it is the value of X",
    "kvm -name “a”": "typographic quotes and dashes are read as plain ones",
    "kvm ${X:+-s} -m 1": "${X:+-s} is left out: X is not set in the text",
}


@pytest.mark.parametrize("text", SAID)
def test_what_is_left_out_is_said(text: str) -> None:
    assert remarks(text).splitlines()[:1] == [SAID[text]]


def test_a_condition_ends() -> None:
    assert remarks("if [ $1 ]; then M=1; fi\ncase $2 in a) N=1;; esac\nK=3\nkvm -m $K") == ""


def test_nothing_to_say_of_a_plain_line() -> None:
    assert remarks("kvm -m 512 -hda $DISK -name 'a b'") == ""


def test_placeholders() -> None:
    word = f"file={placeholder('DISK')},if=virtio"
    assert shown(word) == "file=<DISK>,if=virtio" and PLACEHOLDER.findall(word) == ["DISK"]
    assert shown("<DISK>") == "<DISK>" and not PLACEHOLDER.search("<DISK>")
    assert not PLACEHOLDER.search(from_words(["kvm", "-name", word]).words[2])  # text cannot make one


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["kvm", "-name", "a b", "-hda", "$D'"], ("kvm", "-name", "a b", "-hda", "$D'")),
        (["sudo", "-E", "timeout", "5", "kvm", "-s"], ("kvm", "-s")),
        (["env", "A=b", "qemu-system-arm"], ("qemu-system-arm",)),
        (["kvm -m 1 -name 'a b'"], ("kvm", "-m", "1", "-name", "a b")),
        (["bash", "-c", "kvm -m 1"], ("kvm", "-m", "1")),
        (["Q", "-m", "1"], ("Q", "-m", "1")),
        (["sudo"], ("sudo",)),
        ([""], ("",)),
        ([], ()),
    ],
)
def test_from_words(words: list[str], expected: tuple[str, ...]) -> None:
    line = from_words(words)
    assert line.words == expected and line.line == 1
    assert bool(line.remarks) == (not expected or words[0] not in ("kvm", "kvm -m 1 -name 'a b'"))


WORD = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0\ue000\ue001“”„‘’"), max_size=12)


@given(st.lists(WORD, max_size=6))
def test_what_python_quotes_is_read_back(words: list[str]) -> None:
    line = ["qemu-system-x86_64", "-s", *words]
    (found,) = command_lines(shlex.join(line))
    assert list(found.words) == line and not found.remarks


#: Pieces that bash and this reader must read alike, whatever their order. (A word that begins with an
#: escaped blank is not among them: in notes that is a broken continuation.)
PIECES = ["-m", "512", " ", "  ", "'a b'", '"c d"', '"$X"', "${X}", "${Y}", "${Z}", '"${A[@]}"', "x\\ y", "\\'", '\\"', "a=b,c",
          "#x", " #y", "\\\n ", '"e\\"f"', '"\\a"', "$'g\\th'", "''", "~", "$((2+3))", "${Y:-d}", "${U:-i j}", "{", "%"]  # fmt: skip
SET = "X='p  q'; Y=r; Z=; A=(s 't u' '')\n"


@given(st.lists(st.sampled_from(PIECES), max_size=8))
@settings(max_examples=60, deadline=None)
def test_words_are_those_of_bash(pieces: list[str]) -> None:
    line = f"qemu -s {''.join(pieces)} -x"
    # Where bash would end the command, and whoever wrote it did not mean to, this reader goes on.
    assume(not ("#" in line and "\\\n" in line))
    script = f"qemu() {{ printf '%s\\0' \"$@\"; }}; HOME='~'\n{SET}{line}\n"
    ran = subprocess.run(["bash", "-f", "-c", script], capture_output=True, timeout=20, check=True)
    expected = ran.stdout.decode().split("\0")[:-1]
    (found,) = command_lines(SET + line)
    assert list(found.words[1:]) == expected


BITS = st.sampled_from(
    ["kvm", "qemu-system-x86_64 ", " -m 1", "$", "$(", "${", ")", "}", "((", "`", "'", '"', "\\", "\n", "\n\n", "\\\n", " ",
     "#", "<", ">", "<<E\n", "E\n", "|", "&", ";", "A=", "A=(", "$A", "${A[@]}", "set ", "export ", " = ", "+=", "%A%", "^\n",
     "bash -c ", "eval ", "sudo ", "```", "> ", "- ", "# ", "1", "$@", "${A:-", "C:\\", "\u201c", "\ue000", "\0", "\r"]
)  # fmt: skip


@given(st.one_of(st.text(), st.lists(BITS, max_size=40).map("".join)))
@settings(max_examples=400, deadline=None)
def test_no_text_makes_it_fail(text: str) -> None:
    for line in command_lines(text):
        assert line.words and 1 <= line.line <= text.count("\n") + text.count("\r") + 1
        assert all(remark and "\ue000" not in remark for remark in line.remarks)


@given(st.lists(st.text(), max_size=6))
def test_no_words_make_it_fail(words: list[str]) -> None:
    from_words(words)


@given(st.sampled_from([*LINES, *SCRIPTS]), st.integers(0, 80), st.integers(0, 80))
@settings(max_examples=300, deadline=None)
def test_no_torn_line_makes_it_fail(text: str, left: int, right: int) -> None:
    for line in command_lines(text[left : len(text) - right]):
        assert line.words


@pytest.mark.parametrize(
    "bit",
    ["$(", "${", "a=(", "((", "\\", "'", '"', '"\\"', "`", "kvm -m 1 (", "kvm -m '1\n", "B=$A$A$B\n", "A+=($A a)\n", "A = $(A)x\n",
     "A += b\n", "<<E\n", "# kvm -s\n", "kvm -s \\\n", "-m 1\n", "a`b\n", "a`b\n\n", "C='kvm -m 1'\n", "kvm\t-m 1 \\ ", ";", "%a", "<a", "x@"],
)  # fmt: skip
def test_a_hostile_page_is_read_to_its_end(bit: str) -> None:
    """Doubling and nesting must not blow up: without a bound, none of these would ever end."""
    command_lines("kvm -m 1 \\\n" + bit * (60_000 // len(bit)))
