"""Marked-up kinds: headings, numbers of lists, code, and tables whose values keep their headers."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tailorbird.documents.read_result import Notes, ReadOptions, Unreadable
from tailorbird.documents.readers import read_file
from tailorbird.records import Document

Read = Callable[[str, str], tuple[Document, Notes]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def of(suffix: str, text: str) -> tuple[Document, Notes]:
        file = tmp_path / f"page{suffix}"
        file.write_text(text, encoding="utf-8")
        (document,), notes = read_file(file, "page", ReadOptions())
        return document, notes

    return of


def trails(document: Document) -> list[tuple[str, ...]]:
    return [mark.headings for mark in document.marks]


ADOC = """= Oven guide
Eva Lund <eva@oven.org>
:brand: Glow

// no
{brand} ovens bake.footnote:[Some grill.] See <<sizes,the sizes>>.

== Use

. Heat
. Bake
.. bread
.. cake

[start=5]
. Rest

Rack:: What holds the tray.

////
no
////
----
= code
----

.Sizes
[cols="2*,1"]
|===
|Kind |Low |High

.2+|Home 2+|same
|50|60
|Shop
|90
|120
|===

include::more.adoc[]
"""


def test_asciidoc(read: Read) -> None:
    document, notes = read(".adoc", ADOC)
    assert document.text == (
        "Oven guide\n\nGlow ovens bake. [Some grill.] See the sizes.\n\nUse\n\n1. Heat\n2. Bake\n"
        "  1. bread\n  2. cake\n5. Rest\n\nRack: What holds the tray.\n\n"
        "```\n= code\n```\n\nSizes\n\n"
        "Kind: Home; Low: same; High: same\nKind: Home; Low: 50; High: 60\n"
        "Kind: Shop; Low: 90; High: 120"
    )
    assert (document.title, document.metadata["author"]) == ("Oven guide", "Eva Lund")
    assert trails(document) == [("Oven guide",), ("Oven guide", "Use")]
    assert notes == ["files that it includes are not read: more.adoc"]


def test_asciidoc_tables(read: Read) -> None:
    plain = read(".adoc", "|===\n|a|b\n|c|d\n|===")[0].text
    assert plain == "a: b\nc: d"
    marked = '[%header,cols="1,1"]\n|===\n|A|B\n|1\n|x \\| y\n|===\n'
    assert read(".adoc", marked)[0].text == "A: 1; B: x | y"


ORG = """#+TITLE: Oven log
#+AUTHOR: Eva
# no
* TODO [#A] Repairs :home:
:PROPERTIES:
:ID: no
:END:
See [[http://o.org][the shop]].
- fuse
- lamp :: gives light
3. third
** Parts
#+BEGIN_SRC sh
,* code
#+END_SRC
#+CAPTION: Prices
|------+-----|
| Part | Kr  |
|------+-----|
| Fuse | 20  |
|------+-----|
"""


def test_org(read: Read) -> None:
    document, _ = read(".org", ORG)
    assert document.text == (
        "Repairs\n\nSee [the shop](http://o.org).\n\n- fuse\n- lamp: gives light\n3. third\n\n"
        "Parts\n\n"
        "```\n* code\n```\n\nPrices\n\nPart: Fuse; Kr: 20"
    )
    assert (document.title, document.metadata["author"]) == ("Oven log", "Eva")
    assert trails(document)[-1] == ("Repairs", "Parts")


TEX = r"""\documentclass{article}
\newcommand{\oven}{Glow}
\title{On \emph{ovens}\thanks{no}}
\author{Eva Lund \and Ola Ek}
\begin{document}
\begin{abstract}
We bake. % no
\end{abstract}
\section{Heat \& time}\label{no}
The \oven{} of G\"oran and Fran\c{c}ois took 5\% more~\cite{lund}\footnote{Or \textbf{less}.}
at $10^4$~W, see \verb|a_b%|.
\begin{enumerate}
\item Heat % no
  well
\item Bake
\begin{itemize}\item bread\end{itemize}
\end{enumerate}
\begin{equation}
Q = m^2 \label{no}
\end{equation}
\begin{table}[h]\caption{Loaves \emph{a day}}
\begin{tabular}{lrr}
\hline
Oven & \multicolumn{2}{c}{Loaves} \\
\hline
\multirow{2}{*}{Home} & 3 & 4 \\
 & 5 & 6 \\
\hline
\end{tabular}
\end{table}
\begin{verbatim}
50 % kept
\section{kept}
\end{verbatim}
\begin{description}\item[Rack] Holds.\end{description}
\input{more}
\end{document}
"""


def test_tex(read: Read) -> None:
    document, notes = read(".tex", TEX)
    assert document.text == (
        "On ovens\n\nAbstract\n\nWe bake.\n\nHeat & time\n\n"
        "The Glow of Göran and François took 5% more [lund] [Or less.]\nat $10^4$ W, see a_b%.\n\n"
        "1. Heat well\n2. Bake\n  - bread\n\nQ = m^2\n\nLoaves a day\n\n"
        "Oven: Home; Loaves: 3; Loaves: 4\nOven: Home; Loaves: 5; Loaves: 6\n\n"
        "```\n50 % kept\n\\section{kept}\n```\n\n- Rack: Holds."
    )
    assert (document.title, document.metadata["author"]) == ("On ovens", "Eva Lund , Ola Ek")
    assert trails(document)[-1] == ("On ovens", "Heat & time")
    assert notes == ["included files are not read: more"]


def test_macros_alone_stay_as_written(read: Read) -> None:
    macros = "% colours\n\\newcommand{\\red}[1]{\\textcolor{red}{#1}}"
    assert read(".tex", macros)[0].text == macros


def test_subtitles(read: Read) -> None:
    srt = (
        "1\n00:00:01,000 --> 00:00:02,000\nThe <i>oven</i> must\nbe hot\n\n"
        "2\n00:00:02,000 --> 00:00:03,000\nbe hot\nbefore use.\n\n"
        "3\n00:00:03,000 --> 00:00:04,000\nNo.\n\n4\n00:00:04,100 --> 00:00:05,000\nNo.\n\n"
        "5\n01:00:09,500 --> 01:00:10,000\nLater &amp; on.\n"
    )
    text = "[00:00:01] The oven must be hot before use. No. No.\n\n[01:00:09] Later & on."
    assert read(".srt", srt)[0].text == text
    vtt = (
        "WEBVTT\n\nNOTE no\n\nSTYLE\n::cue { color: no }\n\nintro\n00:01.000 --> 00:02.000 line:0\n"
        "<v Eva>Hot?\n\n00:02.000 --> 00:03.000\n<v.loud Ola>Very <00:02.500><c>hot</c>.\n"
    )
    assert read(".vtt", vtt)[0].text == "[00:01] Eva: Hot?\n\n[00:02] Ola: Very hot."


JATS = """<?xml version="1.0"?><!DOCTYPE article SYSTEM "jats.dtd" [<!ENTITY oven "Glow">]>
<article xml:lang="en" xmlns:m="http://www.w3.org/1998/Math/MathML"><front><journal-meta>
<journal-title>no</journal-title></journal-meta><article-meta><title-group><article-title>On
<italic>ovens</italic></article-title></title-group><contrib-group>
<contrib contrib-type="author"><name><surname>Lund</surname><given-names>Eva</given-names></name>
</contrib><contrib contrib-type="editor"><name><surname>No</surname></name></contrib>
</contrib-group><abstract><p>We bake &mdash; in a &oven;.</p></abstract></article-meta></front>
<body><sec><label>1.</label><title>Heat</title><p>At 10<sup>4</sup> W<xref ref-type="bibr"
rid="b"><sup>2</sup></xref>.</p><sec><title>Steps</title><list list-type="alpha-lower"><list-item>
<p>Heat.</p></list-item><list-item><p>Bake.</p></list-item></list><disp-formula><m:math><m:msup>
<m:mi>q</m:mi><m:mn>2</m:mn></m:msup></m:math></disp-formula></sec></sec>
<sec><title>Loaves</title><table-wrap><label>Table 1</label><caption><p>A day.</p></caption><table>
<thead><tr><th>Oven</th><th>Loaves</th></tr></thead><tbody><tr><td rowspan="2">Home</td><td>3</td>
</tr><tr><td>5</td></tr></tbody></table></table-wrap></sec></body><back><ref-list>
<title>References</title><ref><label>2</label><element-citation><name><surname>Ek</surname>
<given-names>O</given-names></name><year>1990</year></element-citation></ref></ref-list></back>
</article>"""


def test_jats(read: Read) -> None:
    document, _ = read(".xml", JATS)
    assert document.text == (
        "On ovens\n\nWe bake — in a Glow.\n\n1. Heat\n\nAt 10^4 W[2].\n\nSteps\n\na. Heat.\n"
        "b. Bake.\n\nq^2\n\nLoaves\n\nTable 1 A day.\n\nOven: Home; Loaves: 3\n"
        "Oven: Home; Loaves: 5\n\nReferences\n\n- 2 Ek O 1990"
    )
    assert trails(document)[2] == ("On ovens", "1. Heat", "Steps")
    assert (document.metadata["author"], document.metadata["language"]) == ("Eva Lund", "en")


DOCBOOK = """<book xmlns="http://docbook.org/ns/docbook"><info><title>Ovens</title><author>
<personname><firstname>Eva</firstname><surname>Lund</surname></personname></author></info>
<chapter><title>Use</title><para>Open<footnote><para>Slowly.</para></footnote> it.</para>
<warning><para>Hot.</para></warning><section><title>Steps</title>
<orderedlist startingnumber="3" numeration="upperroman"><listitem><para>Heat</para></listitem>
</orderedlist><variablelist><varlistentry><term>rack</term><listitem><para>Holds.</para></listitem>
</varlistentry></variablelist><programlisting>oven --on
  wait</programlisting><table><title>Sizes</title><tgroup cols="3"><colspec colname="a"/>
<colspec colname="b"/><colspec colname="c"/><thead><row><entry>Kind</entry><entry>Low</entry>
<entry>High</entry></row></thead><tbody><row><entry morerows="1">Home</entry>
<entry namest="b" nameend="c">same</entry></row><row><entry>5</entry><entry>6</entry></row></tbody>
</tgroup></table></section></chapter></book>"""


def test_docbook(read: Read) -> None:
    document, _ = read(".xml", DOCBOOK)
    assert document.text == (
        "Ovens\n\nUse\n\nOpen [Slowly.] it.\n\nWarning: Hot.\n\nSteps\n\nIII. Heat\n\n"
        "rack: Holds.\n\n```\noven --on\n  wait\n```\n\nSizes\n\n"
        "Kind: Home; Low: same; High: same\n"
        "Kind: Home; Low: 5; High: 6"
    )
    assert trails(document)[-1] == ("Ovens", "Use", "Steps")
    assert document.metadata["author"] == "Eva Lund"


def test_fictionbook(read: Read) -> None:
    document, _ = read(
        ".fb2",
        '<FictionBook xmlns:l="http://www.w3.org/1999/xlink"><description><title-info><author>'
        "<first-name>Eva</first-name><last-name>Lund</last-name></author><book-title>The oven"
        "</book-title><lang>no</lang></title-info></description><body><section><title><p>One</p>"
        '<p>The fire</p></title><p>It burnt<a l:href="#n" type="note">1</a>.</p></section></body>'
        '<body name="notes"><section id="n"><title><p>1</p></title><p>Not well.</p></section>'
        '</body><binary id="x">QUJD</binary></FictionBook>',
    )
    assert document.text == "The oven\n\nOne The fire\n\nIt burnt[1].\n\n1\n\nNot well."
    assert (document.title, document.metadata["author"]) == ("The oven", "Eva Lund")
    assert document.metadata["language"] == "no"


def test_other_xml_and_pages_in_xml(read: Read) -> None:
    for text in ("<project><a>1 &amp; 2</a></project>", "<a>damaged", "<article><x/></article>"):
        assert read(".xml", text)[0].text == text
    page = '<html xmlns="http://www.w3.org/1999/xhtml"><body><h1>Oven</h1></body></html>'
    assert read(".xml", page)[0].text == "Oven"


LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "lol"}">' for i in range(12))


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".xml", f"<!DOCTYPE a [{LAUGHS}]><article><body><p>&l11;</p></body></article>"),
        (".xml", "<article><body>" + "<sec>" * 200 + "<p>x</p>"),
        (".xml", f"<article><body>{'<p><x>a</x></p>' * 20_000}</body></article>"),
        (".xml", f"<article><body><p>{'<x>a</x>' * 20_000}</p></body></article>"),
        (".tex", "\\section{a}" + "\\emph{" * 20_000),
        (".tex", "\\section{a}\n" + "\\begin{itemize}\n\\item" * 5_000),
        (".tex", "\\section{a}\n$" + "{" * 50_000 + "\\(" * 20_000),
        (".tex", "\\section{a}\n\\begin{tabular}{l}" + "\\multirow{9999}{*}{x} & " * 3_000),
        (".tex", "\\section" * 30_000 + "{a}"),
        (".tex", "\\section{a}\n" + "\\begin{verbatim}" * 5_000),
        (".adoc", "|===\n" + ".9999+9999+|x " * 5_000),
        (".adoc", "|===\n" + "9999*|x\n" * 200),
        (".adoc", ":a: " + "x" * 1_000 + "\n\n" + "{a}" * 10_000),
        (".adoc", "----\n////\n|===\n" * 5_000),
        (".adoc", "a::" * 30_000 + "\n" + "<<" * 30_000 + "footnote:[" * 9_000),
        (".org", "|a" * 20_000 + "\n|-"),
        (".org", "[[" * 30_000 + "\n#+BEGIN_SRC\n" * 3_000),
        (".org", "* " * 30_000 + ":a" * 20_000),
        (".srt", "00:00:01,000 --> 00:00:02,000\n" + "<v " * 20_000),
        (".srt", "00:00:01,000 --> 00:00:02,000\nx\n\n" * 20_000),
    ],
)
def test_hostile_files_take_no_time(read: Read, suffix: str, text: str) -> None:
    began = time.monotonic()
    with contextlib.suppress(Unreadable):  # a bomb
        assert len(read(suffix, text)[0].text) < 20_000_000
    assert time.monotonic() - began < 10
