"""The article's plot: what style networks of many architectures and alphas are worth, against what they cost.

`grid` trains the runs and `collect` finds finished ones; `judge` and `measure` make a row of each (`rows`); `latency` times all
of them together; `pareto` finds the front and `names` tells rows apart; `plots`, `table`, `gallery` and `page` show it;
`experiment` puts these in order.
"""
