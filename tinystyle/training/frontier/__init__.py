"""The frontier: quality against cost for style networks of many architectures and alphas, with plots and a page.

`grid` trains the runs and `collect` finds finished ones. `judge` and `measure` compute one row of metrics per run
(`rows`), and `latency` times all networks together. `pareto` finds the Pareto front, and `names` makes names unique.
`plots`, `table`, `gallery` and `page` present the result. `experiment` runs these in order.
"""
