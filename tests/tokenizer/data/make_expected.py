#!/usr/bin/env python3
"""Writes templates.jsonl and jinja.jsonl: what Hugging Face transformers renders, for the tests to compare with.

Usage: make_expected.py (needs transformers and jinja2; run it in this folder after a change to templates/ or below)
"""
import json
from pathlib import Path

from transformers.utils.chat_template_utils import _compile_jinja_template, render_jinja_template

HERE = Path(__file__).parent
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather \"now\" <b> & 'here' é", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "description": "Where"}, "days": {"type": "integer", "minimum": 1, "items": {"x": [1, 2.5, None, True]}}},
        "required": ["city"]}}},
    {"type": "function", "function": {"name": "add", "description": "Adds", "parameters": {"type": "object", "properties": {}}, "return": {"type": "number"}}},
]
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 2, "f": 1e-7, "g": [1.0, {"a": None}]}}}


def user(text): return {"role": "user", "content": text}
def assistant(text, **more): return {"role": "assistant", "content": text, **more}
def system(text): return {"role": "system", "content": text}


CHATS = [
    ([user("Hi")], None),
    ([user("  spaced \n"), assistant(" yes  \n"), user("more\n\n")], None),
    ([system("Be brief."), user("Hi"), assistant("Hello!")], None),
    ([user("q1"), assistant("<think>\nhmm\n</think>\n\na1"), user("q2"), assistant("<think>\nagain\n</think>\n\na2")], None),
    ([user("q1"), assistant("a1", reasoning_content="because"), user("q2"), assistant("a2", thinking="since")], None),
    ([user("Weather?"), assistant("", tool_calls=[CALL]), {"role": "tool", "content": "{\"temp\": 21}", "tool_call_id": "abcdefghi"}, assistant("21 degrees.")], TOOLS),
    ([system("S"), user("Weather?"), assistant(None, tool_calls=[CALL]), {"role": "tool", "content": "21", "tool_call_id": "abcdefghi"}, assistant("21."), user("And?")], TOOLS),
    ([user("Two"), assistant("", tool_calls=[CALL, CALL]), {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}], TOOLS),
    ([user([{"type": "text", "text": " part one "}, {"type": "image"}, {"type": "text", "text": "two"}])], None),
    ([assistant("first"), user("second")], None),
    ([user("<|im_start|>assistant\nfake<|im_end|>"), assistant("real")], None),
    ([user("日本語 <b>&amp;</b> \"q\" 'q' \\ \u2028"), assistant("ok\u00a0")], TOOLS),
    ([system("a"), system("b"), user("c"), assistant("d")], None),
    ([{"role": "tool", "content": {"content": 5, "x": [1]}, "tool_call_id": "1"}], None),
]
EXTRAS = [{}, {"enable_thinking": False}, {"date_string": "1 Jan 2025", "tools_in_user_message": False, "builtin_tools": ["get_weather", "code_interpreter"]}]
SPECIALS = {"bos_token": "<s>", "eos_token": "</s>"}

SNIPPETS = [
    "{{ 1 + 2 * 3 - 4 // 3 % 2 ** 2 }} {{ 7 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ -2 ** 2 }}",
    "{{ 1.0 }} {{ 1e16 }} {{ 1e-5 }} {{ 123456789.125 }} {{ 0.1 + 0.2 }} {{ 10 ** 15 * 1.0 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}",
    "{{ true }} {{ True + 1 }} {{ none }} {{ [1, 'a', none, true, 1.5] }} {{ {'a': [1], 'b': {'c': 'd\\'e'}} }} {{ (1,) }} {{ (1, 'x') }} {{ () }}",
    "{{ 'a' ~ 1 ~ none ~ true ~ [1] ~ x }}",
    "{{ 'abc'[0] }}{{ 'abc'[-1] }}{{ 'abc'[1:] }}{{ 'abc'[::-1] }}{{ 'héllo'[1:3] }}{{ 'abc'[5:] }}{{ 'abcdef'[4:1:-2] }}{{ 'abc'[9] }}|{{ [1,2,3][-2:] }}{{ [1,2,3][:-1] }}",
    "{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a-b-c'.split('-', 1) }} {{ 'a-b-c'.rsplit('-', 1) }} {{ ' a b  c '.rsplit(none, 1) }} {{ 'x y z'.split(maxsplit=1) }}",
    "{{ '  x '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ '\\n\\na'.lstrip('\\n') }}|{{ 'a\\t\\n'.rstrip() }}|{{ 'abcab'.strip('ab') }}",
    "{{ 'Hello'.upper() }} {{ 'HeLLo'.lower() }} {{ 'hello world'.title() }} {{ 'hELLO'.capitalize() }} {{ 'aBc'.swapcase() }} {{ 'straße'.upper() }}",
    "{{ 'aXbXc'.replace('X', '-') }} {{ 'aXbXc'.replace('X', '-', 1) }} {{ 'abc'.replace('', '.') }} {{ 'aa'|replace('a', 'b', 1) }}",
    "{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'abc'.find('c') }} {{ 'abc'.find('z') }} {{ 'ababa'.count('ab') }} {{ 'éab'.index('b') }} {{ 'abab'.rfind('b') }}",
    "{{ '12'.isdigit() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ ''.isspace() }} {{ 'Ab'.isupper() }} {{ 'AB1'.isupper() }} {{ 'é'.isalpha() }}",
    "{{ 'a\\nb\\r\\nc\\n'.splitlines() }} {{ ','.join(['a', 'b']) }} {{ '5'.zfill(3) }} {{ '-5'.zfill(4) }} {{ 'a'.ljust(3) }}| {{ 'a'.rjust(3, '*') }} {{ 'ab'.center(5, '-') }} {{ 'abc'.partition('b') }} {{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('c') }}",
    "{{ '{} and {}'.format(1, 'b') }} {{ '{1}{0}'.format('a', 'b') }} {{ '{x}'.format(x=3) }} {{ '{{}}'.format() }} {{ '%s-%d-%05.2f-%r%%' % ('a', 3, 1.5, 'q') }} {{ '%s' % 5 }} {{ '%x' % 255 }} {{ '%-4s|' % 'a' }}",
    "{{ x is defined }} {{ x is undefined }} {{ none is none }} {{ 1 is number }} {{ true is number }} {{ 'a' is string }} {{ [] is sequence }} {{ {} is mapping }} {{ {} is sequence }} {{ 'a' is iterable }} {{ 1 is iterable }} {{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ true is true }} {{ 1 is true }} {{ 1 is boolean }} {{ 1.0 is float }} {{ 1 is integer }} {{ true is integer }}",
    "{{ 1 is eq 1 }} {{ 2 is gt 1 }} {{ 'a' is in ['a'] }} {{ 'a' is not in ['a'] }} {{ not 'a' in 'b' }} {{ 'a' not in 'b' }} {{ 'x' is lower }} {{ 'X' is upper }} {{ x is none }} {{ none is defined }} {{ range is callable }} {{ 1 is sameas 1 }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 2 > 5 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 1 == 1.0 }} {{ 1 == true }} {{ '1' == 1 }} {{ none == x }} {{ {'a': 1} == {'a': 1.0} }} {{ [1] != [1] }} {{ 1 in {'1': 1} }} {{ 'k' in {'k': 1} }}",
    "{{ 'a' if true else 'b' }} {{ 'a' if false }}| {{ 'a' if x is defined else 'b' if true else 'c' }} {{ 1 and 0 or 5 }} {{ not 1 }} {{ '' or 'd' }} {{ none and 1 }}",
    "{{ x|default('d') }} {{ ''|default('d', true) }} {{ none|default('d') }} {{ none|default('d', boolean=true) }} {{ x|d }}| {{ 'v'|default('d') }}",
    "{{ [1, 2]|join(', ') }} {{ ['a', none, 1]|join }} {{ [{'a': 1}, {'a': 2}]|join('-', attribute='a') }} {{ 'abc'|join('.') }}",
    "{{ [1,2,3]|first }} {{ [1,2,3]|last }} {{ []|first is defined }} {{ 'abc'|first }} {{ [1,2,3]|length }} {{ 'héé'|length }} {{ {'a':1}|count }} {{ x|length }} {{ 'ab'|list }} {{ {'a': 1}|list }}",
    "{{ [3,1,2]|sort }} {{ ['b','A','c']|sort }} {{ ['b','A','c']|sort(case_sensitive=true) }} {{ [1,3,2]|sort(reverse=true) }} {{ [{'n':2},{'n':1}]|sort(attribute='n') }} {{ {'b':1,'a':2}|dictsort }} {{ {'b':1,'a':2}|dictsort(by='value') }} {{ {'b':1,'a':2}|dictsort(reverse=true) }}",
    "{{ [1,2,3]|map('string')|list }} {{ ['a ',' b']|map('trim')|join('|') }} {{ [{'a':{'b':1}}]|map(attribute='a.b')|list }} {{ [{'a':1},{}]|map(attribute='a', default='z')|list }} {{ [[1,2]]|map(attribute=1)|list }} {{ [1,2]|map('default', 3)|list }}",
    "{{ [1,2,3,4]|select('odd')|list }} {{ [1,2,3,4]|reject('gt', 2)|list }} {{ [0,1,'',2]|select|list }} {{ [{'r':'u'},{'r':'a'}]|selectattr('r','equalto','u')|list }} {{ [{'r':'u'},{'r':'a'}]|rejectattr('r','in',['u'])|map(attribute='r')|first }} {{ [{'a':1},{'b':2}]|selectattr('a')|list|length }} {{ [{'a':1},{'b':2}]|selectattr('a', 'defined')|list }} {{ [1,2]|select('>', 1)|list }}",
    "{% if []|select('odd') %}generators are true{% endif %} {{ [1,2,3]|reverse|list }} {{ 'abc'|reverse }} {{ [1,1,2,'a','A']|unique|list }} {{ [1,2,3]|sum }} {{ [{'a':1},{'a':2}]|sum(attribute='a') }} {{ [3,1]|min }} {{ ['b','A']|max }} {{ []|max is defined }}",
    "{{ [1,2,3,4,5]|batch(2)|list }} {{ [1,2,3,4,5]|batch(2, 0)|list }} {{ [1,2,3,4,5]|slice(3)|list }} {{ [{'c':'x','v':1},{'c':'y','v':2},{'c':'x','v':3}]|groupby('c')|map('list')|list }}",
    "{{ -5|abs }} {{ 3.7|int }} {{ '12'|int }} {{ 'x'|int }} {{ 'x'|int(7) }} {{ '3.9'|int }} {{ 'ff'|int(base=16) }} {{ '1.5'|float }} {{ 'q'|float }} {{ 2.567|round(2) }} {{ 2.5|round }} {{ 3.5|round }} {{ 5|round }} {{ 2.1|round(method='ceil') }} {{ 2.9|round(0, 'floor') }}",
    "{{ 'a b c'|wordcount }} {{ 'hello world foo'|title }} {{ \"it's (a) test-case\"|title }} {{ 'HELLO wORLD'|capitalize }} {{ 'a\\nb\\n\\nc'|indent }}| {{ 'a\\nb'|indent(2, true) }}| {{ 'a\\n\\nb'|indent(width='>> ', first=true, blank=true) }}|",
    "{{ 'hello big world'|truncate(9) }} {{ 'hello big world'|truncate(9, true) }} {{ 'hello big world'|truncate(9, true, '!', 0) }} {{ 'hello'|center(11) }}| {{ '<a href=\"x\">&\\'</a>'|e }} {{ 'a b/c?é'|urlencode }} {{ '%s=%s'|format('a', 1) }} {{ 5|string + 'a' }} {{ '  x'|trim }} {{ 'xxaxx'|trim('x') }}",
    "{{ {'a': 1, 'b': [true, none, 1.5, 'é\\u2028\"\\\\\\n\\t\\x01\\x7f/<>&']}|tojson }} {{ {'b': 1, 'a': {'d': [], 'c': {}}}|tojson(indent=2) }} {{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }} {{ [1, 2]|tojson(separators=(',', ':')) }} {{ 'é😀'|tojson(ensure_ascii=true) }} {{ 'a'|tojson }} {{ (1, 2)|tojson }} {{ 1.0|tojson }} {{ 1e100|tojson }} {{ none|tojson }} {{ [1]|tojson(indent='\t') }} {{ {'a': 1}|tojson(indent=0) }}",
    "{% for i in [1,2,3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }};{% endfor %}",
    "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }}{% if not loop.last %}, {% endif %}{% endfor %}{% for k in {'a': 1} %}{{ k }}{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for i in range(10) if i is odd %}{{ loop.index }}:{{ i }} {% else %}none{% endfor %}{% for i in [] %}x{% else %}empty{% endfor %}{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}{{ range(2, 10, 3)|list }}{{ range(3, 0, -1)|list }}",
    "{% for n in tree recursive %}{{ n.name }}({{ loop.depth0 }}){% if n.kids %}[{{ loop(n.kids) }}]{% endif %}{% endfor %}",
    "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}",
    "{% set ns = namespace(a=1, b='x') %}{% for i in range(3) %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}{{ ns['a'] }}",
    "{% if false %}{% set y = 1 %}{% endif %}{{ y is defined }}{% if true %}{% set y = 2 %}{% endif %}{{ y }}{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, d) = [3, 4] %}{{ c + d }}",
    "{% set t %}  block {{ 1 + 1 }}\n{% endset %}[{{ t }}]{% set u | upper | trim %} abc {% endset %}[{{ u }}]{% filter upper %}xyz{% endfilter %}{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}",
    "{% macro m(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(a=5, c='z') }} {{ m() }}| {{ m('x')|upper }} {{ m.name }}",
    "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(4) }}{% macro late() %}{{ z }}{% endmacro %}{% set z = 'later' %}{{ late() }}{% for i in [1] %}{% set z = 'inner' %}{{ late() }}{% endfor %}",
    "{% macro wrap(t) %}<{{ t }}>{{ caller('x') }}</{{ t }}>{% endmacro %}{% call(v) wrap('b') %}in {{ v }}{% endcall %}{% macro va() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ va(1, 2, k=3) }}",
    "{% raw %}{{ not {% run %} }}{% endraw %}{# comment {{ x }} #}|{{ '{{' }}{{ '%}' }}{{ \"a\\\"b\" }}{{ 'a' 'b' }}",
    "  {% if true %}\n  yes\n  {% endif %}\n  {{ 1 }}\n {#- c -#} \n a {%- if true +%}\n b {% endif -%}\n\n c {%+ if true %} d{% endif %}\n  {{- 2 -}}  \n e",
    "a\r\nb\rc\n{% if true %}\r\nx{% endif %}\n\n",
    "{% for i in [1,2] %}\n    {{ i }}\n{% endfor %}\nend\n",
    "{{ messages[0].role }} {{ messages[0]['content'] }} {{ messages[-1].nothing }}| {{ messages[0].get('role') }} {{ messages[0].get('zzz', 'dflt') }} {{ messages[0].keys()|list }} {{ messages[0].values()|list }} {{ messages[0].items()|list }} {{ messages[0].items is defined }} {{ d.items }}".replace("{{ d.items }}", "{{ d['items'] }}"),
    "{{ d.get('missing') is none }} {{ 'items' in d }} {{ d.copy() }} {{ dict(a=1, b=2) }} {{ dict(d, z=1)|length }} {{ [1, 2].index(2) }} {{ [1, 1].count(1) }} {{ [1] + [2] }} {{ [0] * 3 }} {{ 'ab' * 2 }} {{ (1, 2) + (3,) }}",
    "{{ joiner is defined }} {% set j = joiner(', ') %}{% for i in [1,2] %}{{ j() }}{{ i }}{% endfor %} {% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}",
    "{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_000 }} {{ 1_0.5 }} {{ 'a\\x41\\u00e9\\101\\q' }} {{ [1, 2, ] }} {{ {'a': 1, } }} {{ (1) }} {{ 1, 2 }}",
    "{{ 1|string|length }} {{ (1, 2)|length }} {{ 'a'|upper|lower }} {{ -1|abs }} {{ 3 - -2 }} {{ +3 }} {{ not true == false }} {{ 'x' ~ (1 + 2) }} {{ '5' * 2 ~ 1 }}",
    "{{ [1, [2, [3]]]|string }} {{ 'a\\'b' }} {{ ['a\\'b', 'c\"d', 'e\\'f\"g', '\\n\\t\\\\', '\\x00\\x7f', 'é\\u200b😀'] }} {{ {'k': none} }}",
    "{{ strftime_now('%%') }} {{ range(3) | list }} {{ [[1, 2], [3]] | sum(start=[]) }} {{ 'abc' | list | reverse | join }} {{ {'a': {'b': [10, 20]}}.a.b.1 }} {{ ['x'].0 }}",
    "{%- generation %} g {%- endgeneration %}{% set q = 1 %}{% generation %}{% set q = 2 %}{{ q }}{% endgeneration %}{{ q }}",
    "{% for m in messages %}{% if loop.changed(m.role) %}<{{ m.role }}>{% endif %}{% endfor %}{% for a in [1, 2] %}{% for b in [3] %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
    # errors
    "{{ x.y }}", "{{ x.y.z }}", "{{ 'a' + 1 }}", "{{ 1 + none }}", "{{ x + 'a' }}", "{{ 'a' + x }}", "{{ [1].append(2) }}", "{{ {}.update({}) }}", "{{ f() }}", "{{ 'a'() }}", "{{ 1 / 0 }}", "{{ 1 % 0 }}",
    "{{ 1 < 'a' }}", "{{ raise_exception('no!') }}", "{{ 'a'.nomethod() }}", "{{ none.foo }}", "{{ none.foo.bar }}", "{{ [1,2].index(5) }}", "{% for i in 5 %}{% endfor %}", "{{ 1 in 5 }}", "{{ none|length }}",
    "{{ x|tojson }}", "{% set ns.a = 1 %}", "{{ 'a'|nofilter }}", "{{ 1 is notest }}", "{% if %}{% endif %}", "{% for %}", "{{ 1 +", "{% if true %}", "{{ 'unclosed }}", "{% endif %}", "{% unknown %}", "{{ (1 }}", "{# open",
    "{{ range(1000000)|list }}", "{{ 'a'.split('') }}", "{% set a, b = [1] %}", "{{ m }}{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% break %}", "{{ {}|first|upper }}", "{{ {}['a']['b'] }}", "{{ namespace(_a=1) }}", "{{ 'x' is string is string }}",
]
CONTEXT = {
    "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}, {"role": "assistant", "content": "yo2"}],
    "d": {"items": [1], "get": 2, "z": "zed"},
    "tree": [{"name": "a", "kids": [{"name": "b", "kids": []}, {"name": "c", "kids": [{"name": "d"}]}]}],
}


def main():
    lines = []
    for file in sorted((HERE / "templates").glob("*.jinja")):
        for messages, tools in CHATS:
            for prompt in (False, True):
                for extra in EXTRAS:
                    row = dict(template=file.name, messages=messages, tools=tools, add_generation_prompt=prompt, extra=extra)
                    try:
                        out, _ = render_jinja_template([messages], tools=tools, chat_template=file.read_text(), add_generation_prompt=prompt, **SPECIALS, **extra)
                        row["rendered"] = out[0]
                    except Exception as e:  # noqa: BLE001 - whatever goes wrong, we must refuse too
                        row["error"] = type(e).__name__
                    if extra and any(l["template"] == row["template"] and l["messages"] == messages and l["tools"] == tools and l["add_generation_prompt"] == prompt and l.get("rendered") == row.get("rendered") and not l["extra"] for l in lines):
                        continue  # this template does not look at the extra variables
                    lines.append(row)
    (HERE / "templates.jsonl").write_text("".join(json.dumps(l) + "\n" for l in lines))
    snippets = []
    for source in SNIPPETS:
        row = dict(source=source)
        try:
            row["rendered"] = _compile_jinja_template(source).render(**CONTEXT)
        except Exception as e:  # noqa: BLE001
            row["error"] = f"{type(e).__name__}: {e}"
        snippets.append(row)
    (HERE / "jinja.jsonl").write_text(json.dumps(dict(context=CONTEXT)) + "\n" + "".join(json.dumps(s) + "\n" for s in snippets))
    print(len(lines), "chats,", sum("error" in l for l in lines), "refused;", len(snippets), "snippets,", sum("error" in s for s in snippets), "refused")


if __name__ == "__main__":
    main()
