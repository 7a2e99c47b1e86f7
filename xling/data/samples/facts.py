"""The same facts in four languages, for the samples of several training sets."""

from __future__ import annotations

# Facts with an answer, a question and a passage; one article each. Sentences end in ". " or "。".
FACTS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "en": (
        ("1889", "When was the tower finished?", "The tower in Paris is 330 metres tall. It was finished in 1889."),
        ("Danube", "Which river flows through Vienna?", "Vienna is a capital. The Danube flows through the city."),
        ("Kyoto", "What was Japan's capital before Tokyo?", "For centuries Kyoto was the capital. Tokyo followed it."),
        ("Mercury", "Which planet is closest to the Sun?", "Eight planets circle the Sun. Mercury is the closest."),
        ("Rhône", "Into which river does the Saône flow?", "Lyon lies on two rivers. The Saône joins the Rhône there."),
    ),
    "de": (
        ("1889", "Wann wurde der Turm fertig?", "Der Turm in Paris ist 330 Meter hoch. Fertig wurde er 1889."),
        ("Donau", "Welcher Fluss fließt durch Wien?", "Wien ist Hauptstadt. Die Donau fließt durch die Stadt."),
        ("Kyōto", "Was war vor Tokio Hauptstadt?", "Lange war Kyōto die Hauptstadt. Tokio folgte danach."),
        ("Merkur", "Wer ist der Sonne am nächsten?", "Acht Planeten umkreisen die Sonne. Merkur ist der nächste."),
        (
            "Rhone",
            "In welchen Fluss mündet die Saône?",
            "Lyon liegt an zwei Flüssen. Die Saône fließt in die Rhone.",
        ),
    ),
    "ar": (
        ("1889", "متى اكتمل البرج؟", "يبلغ ارتفاع البرج 330 مترا. اكتمل في 1889."),
        ("الدانوب", "أي نهر يمر عبر فيينا؟", "فيينا عاصمة. يمر نهر الدانوب عبر المدينة."),
        ("كيوتو", "ما كانت عاصمة اليابان قبل طوكيو؟", "كانت كيوتو عاصمة لقرون. ثم تبعتها طوكيو."),
        ("عطارد", "أي كوكب أقرب إلى الشمس؟", "ثمانية كواكب تدور حول الشمس. عطارد هو الأقرب."),
        ("الرون", "في أي نهر يصب نهر السون؟", "تقع ليون على نهرين. هناك يصب السون في الرون."),
    ),
    "zh": (
        ("1889", "这座塔什么时候建成？", "巴黎的塔高330米。它于1889年建成。"),
        ("多瑙河", "哪条河流经维也纳？", "维也纳是首都。多瑙河流经这座城市。"),
        ("京都", "东京之前日本的首都是哪里？", "几个世纪以来京都是首都。后来是东京。"),
        ("水星", "哪颗行星离太阳最近？", "八颗行星绕太阳运行。水星离太阳最近。"),
        ("罗讷河", "索恩河流入哪条河？", "里昂位于两条河上。索恩河在那里汇入罗讷河。"),
    ),
}
TITLES = ("Eiffel_Tower", "Vienna", "Kyoto", "Mercury_(planet)", "Lyon")
QUESTION_IDS = tuple(f"56be4db0acb8001400a502e{number}" for number in range(len(TITLES)))
