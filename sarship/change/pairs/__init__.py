"""What `detect_changes.py pair` does: changes between two images, without training data.

reading.py     two images, whatever their form, as intensities on one grid, without pixels that hold no data
masks.py       the mask of what has truly changed
ratios.py      difference images
thresholds.py  change maps by a threshold on a difference image
clustering.py  change maps by clusters of neighbourhoods (PCA-k-means)
learned.py     change maps by a small network that learns from the pair's own confident pixels
agreement.py   how far a change map agrees with the mask
drawing.py     the pictures
command.py     options, and what is written where
"""
