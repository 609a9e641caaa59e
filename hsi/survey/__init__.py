"""Asking people: which of two explanations is more reasonable, and what they recognise.

    design         which questions are asked, and in which order: drawn from a seed
    key            the file that says which side is which variant; raters never see it
    pictures       what sheets are made of: images and the maps of every variant
    sheets         a picture a question
    questionnaire  one HTML file for raters, without any network
    crowd          the table that a crowd platform takes
    make           all of these in one folder
    answers        reading what came back
    clusters       intervals where votes on one image, and votes of one rater, go together
    agreement      Krippendorff's alpha
    paired         Cochran's Q, McNemar's exact tests, Holm's correction
    preferences, recognition   the two kinds of question
    analyse        all of these in tables and figures

The two questions are those of Weber, Merkle, Schöttle and Schlögl, "Less is More: The Influence of
Pruning on the Explainability of CNNs", 2023 (arXiv 2302.08878). It took 2500 votes as independent;
votes on one image are not, nor are those of one person: here intervals are clustered by both.
"""
