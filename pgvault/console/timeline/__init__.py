"""The WAL timeline without a screen: maps a picture of the WAL to time, and time to the columns of a terminal.

`lane` places each segment of a timeline in time, `chart` has all that is drawn of a picture (made once for each),
`frame` is the span of time that the columns show, `axis` and `rows` determine the contents of each column, and `reach`
whether an instant can be restored. Times are whole microseconds since 1970 in UTC throughout.
"""
