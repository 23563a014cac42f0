"""English expressions for days against tables written from a paper calendar, not from the code."""

from datetime import date

import pytest
from date_tables import cases

from data_pipeline.normalisers import dates

WEDNESDAY = """2026-03-04
today = 2026-03-04
tomorrow = 2026-03-05
the day after tomorrow = 2026-03-06
in three days = 2026-03-07
in 10 days' time = 2026-03-14
30 days from now = 2026-04-03
in a week = 2026-03-11
in two weeks = 2026-03-18
in 3 weeks' time = 2026-03-25
a week from today = 2026-03-11
a week from tomorrow = 2026-03-12
two weeks from tomorrow = 2026-03-19
three days from tomorrow = 2026-03-08
in a fortnight = 2026-03-18
a week today = 2026-03-11
a week tomorrow = 2026-03-12
this day next week = 2026-03-11
in a month = 2026-04-04
in three months = 2026-06-04
half a year from now = 2026-09-04
in a year = 2027-03-04
in 5 business days = 2026-03-11
three working days from now = 2026-03-09
the next business day = 2026-03-05
this Friday = 2026-03-06
this Sunday = 2026-03-08
next Monday = 2026-03-09
next Wednesday = 2026-03-11
next Friday = 2026-03-13
next Sunday = 2026-03-15
Friday = 2026-03-06
Monday = 2026-03-09
Tuesday = 2026-03-10
this coming Saturday = 2026-03-07
the coming Tuesday = 2026-03-10
Friday this week = 2026-03-06
Friday next week = 2026-03-13
the Friday of next week = 2026-03-13
next week on Thursday = 2026-03-12
Tuesday the week after next = 2026-03-17
a week from Friday = 2026-03-13
a week from this Saturday = 2026-03-14
two weeks from Monday = 2026-03-23
Friday week = 2026-03-13
a week on Tuesday = 2026-03-17
Saturday this weekend = 2026-03-07
this weekend on Sunday = 2026-03-08
the start of next week = 2026-03-09
the end of the work week = 2026-03-06
the end of the month = 2026-03-31
the last day of this month = 2026-03-31
month-end = 2026-03-31
the end of next month = 2026-04-30
the first of next month = 2026-04-01
the beginning of next month = 2026-04-01
the middle of the month = 2026-03-15
the middle of next month = 2026-04-15
mid-April = 2026-04-15
the end of April = 2026-04-30
the last day of February = 2027-02-28
the end of February next year = 2027-02-28
the end of the month after next = 2026-05-31
the first of June = 2026-06-01
the 20th = 2026-03-20
the 31st = 2026-03-31
the 2nd = 2026-04-02
the 20th of this month = 2026-03-20
the 15th of next month = 2026-04-15
the 10th of the month after next = 2026-05-10
the second Tuesday of next month = 2026-04-14
the third Monday of the month = 2026-03-16
the last Friday of this month = 2026-03-27
the first Monday in September = 2026-09-07
the fourth Thursday of November = 2026-11-26
the last Sunday in October = 2026-10-25
the first Friday of next year = 2027-01-01
the last business day of the month = 2026-03-31
the last business day of May = 2026-05-29
the first business day of August = 2026-08-03
the end of the quarter = 2026-03-31
the end of next quarter = 2026-06-30
the start of next quarter = 2026-04-01
the end of Q3 = 2026-09-30
the last day of Q1 2027 = 2027-03-31
the end of the year = 2026-12-31
the end of next year = 2027-12-31
the first day of next year = 2027-01-01
Christmas = 2026-12-25
Christmas Eve = 2026-12-24
New Year's Eve = 2026-12-31
New Year's Day = 2027-01-01
Halloween = 2026-10-31
the Fourth of July = 2026-07-04
Valentine's Day = 2027-02-14
Thanksgiving = 2026-11-26
Black Friday = 2026-11-27
Cyber Monday = 2026-11-30
Easter = 2026-04-05
Good Friday = 2026-04-03
Easter Monday = 2026-04-06
Memorial Day = 2026-05-25
Labor Day = 2026-09-07
Mother's Day = 2026-05-10
Father's Day = 2026-06-21
MLK Day = 2027-01-18
Presidents' Day = 2027-02-15
Columbus Day = 2026-10-12
Easter 2027 = 2027-03-28
Easter 2025 = 2025-04-20
Thanksgiving next year = 2027-11-25
next year's Labor Day = 2027-09-06
Chinese New Year = 2027-02-06
the Dragon Boat Festival = 2026-06-19
the Mid-Autumn Festival = 2026-09-25
the day after Thanksgiving = 2026-11-27
the day before Christmas = 2026-12-24
two days before Christmas = 2026-12-23
a week before Easter = 2026-03-29
a week after Easter = 2026-04-12
the Monday after Thanksgiving = 2026-11-30
the Friday before Christmas = 2026-12-18
the first Monday after New Year's Day = 2027-01-04
the first Sunday after Halloween = 2026-11-01
the day after March 31 = 2026-04-01
two weeks after March 20 = 2026-04-03
ten days before April 3 = 2026-03-24
a week from March 28th = 2026-04-04
the Monday after June 12 = 2026-06-15
the last Friday before July 4 = 2026-07-03
three days before the end of the month = 2026-03-28
two days before the day after Christmas = 2026-12-24
March 20 = 2026-03-20
March 20th = 2026-03-20
the 20th of March = 2026-03-20
20 March = 2026-03-20
Mar 20 = 2026-03-20
Sept 9 = 2026-09-09
March third = 2027-03-03
the twenty-fifth of December = 2026-12-25
October the thirty-first = 2026-10-31
Friday, March 20 = 2026-03-20
March 20 (Friday) = 2026-03-20
March 4 = 2026-03-04
March 3 = 2027-03-03
April 1, 2027 = 2027-04-01
1 April 2027 = 2027-04-01
the 1st of April 2027 = 2027-04-01
1st April 2027 = 2027-04-01
Apr 1, 2027 = 2027-04-01
01-Apr-2027 = 2027-04-01
2027-04-01 = 2027-04-01
2026/04/25 = 2026-04-25
04/25/2026 = 2026-04-25
25/04/2026 = 2026-04-25
4/25 = 2026-04-25
Tuesday the 17th = 2026-03-17
Wednesday, the 1st = 2026-04-01
March 20 next year = 2027-03-20
October 3 this year = 2026-10-03
first Friday of April = 2026-04-03
two Fridays from now = 2026-03-13
tomorrow week = 2026-03-12
New Year’s Eve = 2026-12-31
next Fri = 2026-03-13
Fri, Mar 20 = 2026-03-20
3/25/26 = 2026-03-25
this evening = 2026-03-04
tonight = 2026-03-04
yesterday = 2026-03-03
the day before yesterday = 2026-03-02
three days ago = 2026-03-01
a week ago = 2026-02-25
two weeks ago = 2026-02-18
a month ago = 2026-02-04
a year ago today = 2025-03-04
last Friday = 2026-02-27
last Wednesday = 2026-02-25
this past Monday = 2026-03-02
Friday last week = 2026-02-27
Monday of this week = 2026-03-02
the 12th of last month = 2026-02-12
the end of last month = 2026-02-28
the first of this month = 2026-03-01
the third Friday of last month = 2026-02-20
the end of last quarter = 2025-12-31
the start of the year = 2026-01-01
the end of last year = 2025-12-31
Christmas last year = 2025-12-25
last Christmas = 2025-12-25
March 3 last year = 2025-03-03
the previous business day = 2026-03-03
"""
EDGES = """2024-02-28
tomorrow = 2024-02-29
the day after tomorrow = 2024-03-01
the end of the month = 2024-02-29
February 29 = 2024-02-29
in a year = 2025-02-28
#2024-02-29
tomorrow = 2024-03-01
in a month = 2024-03-29
next Friday = 2024-03-08
Friday = 2024-03-01
a week from Friday = 2024-03-08
the last day of next month = 2024-03-31
#2025-02-28
tomorrow = 2025-03-01
the first of next month = 2025-03-01
the 29th of next month = 2025-03-29
next Monday = 2025-03-03
#2026-12-31
tomorrow = 2027-01-01
next Monday = 2027-01-04
Monday = 2027-01-04
in three days = 2027-01-03
in two months = 2027-02-28
the end of the year = 2026-12-31
the end of next month = 2027-01-31
the first Friday of next month = 2027-01-01
January 2 = 2027-01-02
#2026-12-28
this Friday = 2027-01-01
next Friday = 2027-01-08
New Year's Eve = 2026-12-31
New Year's Day = 2027-01-01
#2026-03-08
tomorrow = 2026-03-09
Monday = 2026-03-09
this coming Friday = 2026-03-13
Friday week = 2026-03-20
#2026-03-02
next Monday = 2026-03-09
this Friday = 2026-03-06
Sunday = 2026-03-08
last Sunday = 2026-03-01
#2026-10-31
tomorrow = 2026-11-01
the first of next month = 2026-11-01
the 31st = 2026-10-31
Thanksgiving = 2026-11-26
"""
OPEN = [
    ("the weekend", "2026-03-04", {"2026-03-07", "2026-03-08"}),
    ("next weekend", "2026-03-04", {"2026-03-07", "2026-03-08", "2026-03-14", "2026-03-15"}),
    ("the end of the week", "2026-03-04", {"2026-03-06", "2026-03-08"}),
    ("03/04/2027", "2026-03-04", {"2027-03-04", "2027-04-03"}),
    ("Wednesday", "2026-03-04", {"2026-03-04", "2026-03-11"}),
    ("next Friday", "2026-03-08", {"2026-03-13", "2026-03-20"}),
    ("Monday or Tuesday", "2026-03-04", {"2026-03-09", "2026-03-10"}),
    ("the Friday after next", "2026-03-04", {"2026-03-13", "2026-03-20"}),
    ("next week", "2026-03-04", set()),
    ("the weekend after next", "2026-03-04", set()),
    ("a few days before Christmas", "2026-03-04", set()),
    ("a couple of weeks from Friday", "2026-03-04", set()),
    ("the Friday of the first week of April", "2026-03-04", set()),
    ("the 15th of every month", "2026-03-04", set()),
    ("early next month", "2026-03-04", set()),
    ("around the middle of May", "2026-03-04", set()),
    ("in a few days", "2026-03-04", set()),
    ("April 31", "2026-03-04", set()),
    ("February 29", "2026-03-04", set()),
]
NO_DAYS = [
    "every Friday",
    "on Mondays and Fridays",
    "for 3 days and 2 nights",
    "24 people, 7 rooms",
    "call 555-1234",
    "version 3.4.5 on port 8080",
    "at 10:30 in the morning",
    "on the 3rd floor, the 2nd time",
    "support is there 24/7",
    "I sat in the sun and was wed",
    "May I ask you something?",
    "the second option in the list",
    "in 3D",
    "the weekly report of a monthly budget",
]


@pytest.mark.parametrize(("words", "today", "day"), cases(WEDNESDAY) + cases(EDGES))
def test_an_expression_means_the_day_of_the_calendar(words, today, day):
    assert dates(words, today) == {day}
    assert dates(f"Could you book it for {words}, please? It is for 2 people at 10:30.", today) == {day}


@pytest.mark.parametrize(("words", "today", "days"), OPEN)
def test_open_words_give_each_reading_and_vague_ones_none(words, today, days):
    assert dates(words, date.fromisoformat(today)) == days


@pytest.mark.parametrize("text", NO_DAYS)
def test_words_that_only_look_like_days_are_not_read(text):
    assert dates(text, date(2026, 3, 4)) == set()
