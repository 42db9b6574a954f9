"""What `interpret.py` looks at inside a network, a file for each question.

    layers.py       what each layer costs: parameters, multiply-adds, memory
    filters.py      what the first layer looks for, and filters that do nothing
    activations.py  what each layer makes of a chip, and units that never answer
    top.py          which chips excite each unit most
    tsne.py         how chips lie in each dense layer, by class and by data set
    errors.py       where the answers are wrong, from predictions.csv alone; drawn by error_figures.py

Beneath them: `outputs.py` (the outputs of named layers), `neighbours.py` (how far labels can be told apart in them),
`drawing.py` (pictures made of tiles, colours for many groups).
"""
