from matplotlib.figure import Figure
def pair_heatmap(matrix, languages, title):
    f = Figure(); f.subplots().imshow(matrix); return f
