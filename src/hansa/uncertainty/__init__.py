"""How far to trust a prediction, as functions from arrays to arrays.

numpy only: no files, clock, network or global dice.

    decomposition   several predictions of one input -> their spread, entropies, mutual information
    swag            moments of weights -> weights drawn around them
    temperature     loss sums of clients -> one temperature for the logits
    calibration     tallies of clients -> calibration error, reliability diagram, Brier score
    scores          predictions and answers -> conformal scores
    sketches        scores of one client -> counts on a fixed grid
    conformal       sketches of clients -> a threshold, prediction sets, intervals, coverage

What clients report are frozen values of whole numbers: adding them up gives the same bits in every order and grouping,
and each is checked when it is made, by whomever (`ReportError`).
"""
