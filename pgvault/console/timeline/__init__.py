"""The WAL timeline without a screen: a picture of the WAL laid onto time, and time onto the columns of a terminal.

`lane` places each segment of a timeline in time, `chart` has all that is drawn of a picture (made once for each),
`frame` is the stretch of time that the columns show, `axis` and `rows` say what stands in each column, and `reach`
whether an instant can be restored. Times are whole microseconds since 1970 in UTC throughout.
"""
