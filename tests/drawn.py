"""What is written on figures, as it is drawn."""


def texts_of(monkeypatch, module) -> list[str]:
    """A list that fills with all texts of the figures that `module` saves."""
    drawn: list[str] = []
    save = module.save_figure

    def spy(figure, path):
        drawn.extend(artist.get_text() for artist in figure.findobj(lambda artist: hasattr(artist, "get_text")))
        save(figure, path)

    monkeypatch.setattr(module, "save_figure", spy)
    return drawn
